//! The model in the kernel's terms: statements as expressions over registers, keys as bytes.

use std::net::IpAddr;

use nft::{
    CmpOp, DynsetExpr, DynsetOp, Expr, FibFlags, FibResult, LookupExpr, MasqExpr, Match, MetaKey,
    NumgenKind, PayloadBase, Register, Stmt, Value,
};
use nlink::netlink::nftables as nft;

use super::{
    NftablesError,
    table::{Element, Family, Hook, Key, KeyField, Set, SetKey, Statement, Verdict},
};

/// `RTN_LOCAL`: an address of this machine, in `fib daddr type local`.
const ROUTE_TYPE_LOCAL: u32 = 2;

impl From<Family> for nft::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Ip => Self::Ip,
            Family::Ip6 => Self::Ip6,
        }
    }
}

pub(super) fn base_chain(hook: Hook) -> nft::BaseChain {
    use nft::{BaseChain, FilterHook, NatHook, Priority};
    match hook {
        Hook::NatPrerouting => BaseChain::nat(NatHook::Prerouting, Priority::DstNat),
        Hook::NatOutput => BaseChain::nat(NatHook::Output, Priority::Custom(-100)),
        Hook::NatPostrouting => BaseChain::nat(NatHook::Postrouting, Priority::SrcNat),
        Hook::FilterInput => BaseChain::filter(FilterHook::Input, Priority::Custom(-110)),
        Hook::FilterForward => BaseChain::filter(FilterHook::Forward, Priority::Custom(-110)),
        Hook::FilterOutput => BaseChain::filter(FilterHook::Output, Priority::Custom(-110)),
        Hook::FilterOutputAfterNat => BaseChain::filter(FilterHook::Output, Priority::Custom(-90)),
        Hook::FilterPrerouting => BaseChain::filter(FilterHook::Prerouting, Priority::Raw),
    }
}

pub(super) fn verdict(verdict: &Verdict) -> Result<nft::Verdict, NftablesError> {
    let chain = |name: &str| {
        name.parse()
            .map_err(|error| NftablesError::new(format!("naming chain {name}"), error))
    };
    Ok(match verdict {
        Verdict::Accept => nft::Verdict::Accept,
        Verdict::Drop => nft::Verdict::Drop,
        Verdict::Return => nft::Verdict::Return,
        Verdict::Jump(name) => nft::Verdict::JumpTo(chain(name)?),
        Verdict::Goto(name) => nft::Verdict::GotoTo(chain(name)?),
    })
}

pub(super) fn set(family: Family, table: &str, name: &str, set: &Set) -> nft::Set {
    let of_field = |field: &KeyField| match field {
        KeyField::Source | KeyField::Destination => match family {
            Family::Ip => nft::SetKeyType::Ipv4Addr,
            Family::Ip6 => nft::SetKeyType::Ipv6Addr,
        },
        KeyField::Protocol => nft::SetKeyType::InetProto,
        KeyField::DestinationPort => nft::SetKeyType::InetService,
    };
    let key = match &set.fields {
        SetKey::Number => nft::SetKeyType::Mark,
        SetKey::Fields(fields) => match fields.as_slice() {
            [only] => of_field(only),
            several => nft::SetKeyType::Concat(several.iter().map(of_field).collect()),
        },
    };
    let mut lowered = nft::Set::new(table, name)
        .family(family.into())
        .key_type(key);
    if set.is_map {
        lowered = lowered.vmap();
    }
    if let Some(timeout) = set.timeout {
        lowered = lowered.dynamic().timeout(timeout);
    }
    lowered
}

pub(super) fn element(
    key: &Element,
    value: Option<&Verdict>,
) -> Result<nft::SetElement, NftablesError> {
    let part = |key: &Key| match *key {
        Key::Address(IpAddr::V4(address)) => nft::SetElement::ipv4(address),
        Key::Address(IpAddr::V6(address)) => nft::SetElement::ipv6(address),
        Key::Protocol(protocol) => nft::SetElement::inet_proto(protocol.number()),
        Key::Port(port) => nft::SetElement::port(port),
        Key::Number(number) => nft::SetElement::mark(number),
    };
    let element = match key.as_slice() {
        [only] => part(only),
        several => nft::SetElement::concat(several.iter().map(part)),
    };
    Ok(match value {
        None => element,
        Some(value) => element.verdict(verdict(value)?),
    })
}

/// A rule's items.
pub(super) fn statements(
    family: Family,
    statements: &[Statement],
) -> Result<Vec<nft::Item>, NftablesError> {
    let mut items = Vec::new();
    for statement in statements {
        lower(family, statement, &mut items)?;
    }
    Ok(items)
}

fn lower(
    family: Family,
    statement: &Statement,
    items: &mut Vec<nft::Item>,
) -> Result<(), NftablesError> {
    match statement {
        Statement::Source(address, length, inside) => {
            items.push(prefix(
                nft::Field::Ip4Saddr,
                nft::Field::Ip6Saddr,
                *address,
                *length,
                *inside,
            ));
        }
        Statement::Destination(address, length, inside) => {
            items.push(prefix(
                nft::Field::Ip4Daddr,
                nft::Field::Ip6Daddr,
                *address,
                *length,
                *inside,
            ));
        }
        Statement::DestinationIsLocal => items.extend([
            Expr::Fib {
                dreg: Register::R0,
                result: FibResult::AddrType,
                flags: FibFlags::DADDR,
            }
            .into(),
            equals(&ROUTE_TYPE_LOCAL.to_ne_bytes()),
        ]),
        Statement::Protocol(protocol) => {
            items.push(Match::eq(nft::Field::L4Proto, protocol.number()).into());
        }
        Statement::DestinationPort(port) => {
            items.extend([
                destination_port(Register::R0).into(),
                equals(&port.to_be_bytes()),
            ]);
        }
        Statement::InputLink(name, is) => items.push(link(nft::Field::Iifname, name, *is)),
        Statement::OutputLink(name, is) => items.push(link(nft::Field::Oifname, name, *is)),
        Statement::Mark(bits) => {
            let value = Value::Masked {
                value: u64::from(*bits),
                mask: u64::from(*bits),
            };
            items.push(Match::eq(nft::Field::Mark, value).into());
        }
        Statement::InSet(fields, set) => {
            items.extend(load(family, fields));
            items.push(Expr::from(LookupExpr::new(set, KEY_REGISTER)).into());
        }
        Statement::RememberSource(set) => {
            items.extend(load(family, &[KeyField::Source]));
            items.push(Expr::Dynset(DynsetExpr::new(DynsetOp::Update, set, KEY_REGISTER)).into());
        }
        Statement::VerdictMap(fields, map) => {
            items.extend(load(family, fields));
            items.push(look_up_verdict(map));
        }
        Statement::RandomVerdict(modulus, map) => items.extend([
            Expr::Numgen {
                dreg: KEY_REGISTER,
                kind: NumgenKind::Random,
                modulus: *modulus,
                offset: 0,
            }
            .into(),
            look_up_verdict(map),
        ]),
        Statement::SetMark(bits) => {
            items.push(
                Stmt::SetMarkMasked {
                    value: *bits,
                    mask: *bits,
                }
                .into(),
            );
        }
        Statement::ClearMark(bits) => {
            items.push(
                Stmt::SetMarkMasked {
                    value: 0,
                    mask: *bits,
                }
                .into(),
            );
        }
        Statement::DestinationNat(addr, port) => items.push(
            Stmt::NatTo {
                nat_type: nft::NatType::Dnat,
                addr: *addr,
                port: *port,
            }
            .into(),
        ),
        Statement::Masquerade => items.push(Expr::from(MasqExpr::new()).into()),
        Statement::Reject => {
            items.push(Stmt::Reject(nft::Reject::Icmpx(nft::IcmpxCode::PortUnreachable)).into());
        }
        Statement::Verdict(decision) => items.push(verdict(decision)?.into()),
    }
    Ok(())
}

/// Keys are put together from this 32-bit register on.
const KEY_REGISTER: Register = Register::Reg32_00;

/// Loads the fields of a key side by side, each padded to four bytes, as the kernel lays out concatenations.
fn load(family: Family, fields: &[KeyField]) -> Vec<nft::Item> {
    let mut word = 0;
    fields
        .iter()
        .map(|field| {
            let dreg = Register::word(word).expect("the longest key has six of sixteen words");
            let address = |offset_v4: u32, offset_v6: u32| match family {
                Family::Ip => (payload(dreg, PayloadBase::Network, offset_v4, 4), 1),
                Family::Ip6 => (payload(dreg, PayloadBase::Network, offset_v6, 16), 4),
            };
            let (expression, words) = match field {
                KeyField::Source => address(12, 8),
                KeyField::Destination => address(16, 24),
                KeyField::Protocol => (
                    Expr::Meta {
                        dreg,
                        key: MetaKey::L4Proto,
                    },
                    1,
                ),
                KeyField::DestinationPort => (destination_port(dreg), 1),
            };
            word += words;
            expression.into()
        })
        .collect()
}

/// The destination port stands at the same place in TCP, UDP and SCTP.
fn destination_port(dreg: Register) -> Expr {
    payload(dreg, PayloadBase::Transport, 2, 2)
}

fn payload(dreg: Register, base: PayloadBase, offset: u32, len: u32) -> Expr {
    Expr::Payload {
        dreg,
        base,
        offset,
        len,
    }
}

fn equals(data: &[u8]) -> nft::Item {
    Expr::Cmp {
        sreg: Register::R0,
        op: CmpOp::Eq,
        data: data.to_vec(),
    }
    .into()
}

fn look_up_verdict(map: &str) -> nft::Item {
    Expr::from(LookupExpr::new(map, KEY_REGISTER).dreg(Register::Verdict)).into()
}

fn prefix(v4: nft::Field, v6: nft::Field, address: IpAddr, length: u8, inside: bool) -> nft::Item {
    let field = if address.is_ipv4() { v4 } else { v6 };
    let value = Value::Prefix(address, length);
    if inside {
        Match::eq(field, value).into()
    } else {
        Match::ne(field, value).into()
    }
}

fn link(field: nft::Field, name: &str, is: bool) -> nft::Item {
    if is {
        Match::eq(field, name).into()
    } else {
        Match::ne(field, name).into()
    }
}
