//! Loading of seccomp filters. What a filter allows is the caller's table; here it is compiled and given to the kernel.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// When a system call of a [`Filter`] matches, looking at one of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, from 0.
    pub argument: u8,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: u64,
    /// Whether the argument is 64 bits wide.
    pub wide: bool,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The argument is the value.
    Equal,
    /// The argument is not the value.
    NotEqual,
    /// The argument, masked, is the value.
    MaskedEqual(u64),
}

/// A filter under construction: the system calls that match, and what then happens.
#[derive(Debug)]
pub struct Filter {
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    matched: SeccompAction,
    otherwise: SeccompAction,
}

/// A filter in the kernel's language.
#[derive(Clone, Debug)]
pub struct Program(BpfProgram);

impl Filter {
    /// What matches is allowed, everything else fails with this error.
    pub fn allow_or(errno: rustix::io::Errno) -> Self {
        Self {
            rules: BTreeMap::new(),
            matched: SeccompAction::Allow,
            otherwise: SeccompAction::Errno(errno.raw_os_error().unsigned_abs()),
        }
    }

    /// What matches fails with this error, everything else is allowed.
    pub fn deny_with(errno: rustix::io::Errno) -> Self {
        Self {
            rules: BTreeMap::new(),
            matched: SeccompAction::Errno(errno.raw_os_error().unsigned_abs()),
            otherwise: SeccompAction::Allow,
        }
    }

    /// Matches a system call whatever its arguments.
    pub fn call(&mut self, number: i64) {
        self.rules.insert(number, Vec::new());
    }

    /// Matches a system call if all these conditions hold. Several calls of this for one number: if any of them matches. Without effect
    /// on a number that matches already whatever its arguments.
    pub fn call_if(&mut self, number: i64, conditions: &[Condition]) -> io::Result<()> {
        if self.rules.get(&number).is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let conditions = conditions
            .iter()
            .map(|condition| {
                SeccompCondition::new(
                    condition.argument,
                    if condition.wide {
                        SeccompCmpArgLen::Qword
                    } else {
                        SeccompCmpArgLen::Dword
                    },
                    match condition.operator {
                        Operator::Equal => SeccompCmpOp::Eq,
                        Operator::NotEqual => SeccompCmpOp::Ne,
                        Operator::MaskedEqual(mask) => SeccompCmpOp::MaskedEq(mask),
                    },
                    condition.value,
                )
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        let rule = SeccompRule::new(conditions).map_err(io::Error::other)?;
        self.rules.entry(number).or_default().push(rule);
        Ok(())
    }

    /// Compiles for this machine's architecture. Calls of another architecture kill the process.
    pub fn compile(self) -> io::Result<Program> {
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
        let filter = SeccompFilter::new(self.rules, self.otherwise, self.matched, arch)
            .map_err(io::Error::other)?;
        Ok(Program(filter.try_into().map_err(io::Error::other)?))
    }
}

/// Puts the calling thread, and what it forks and executes, under this filter too. Needs no_new_privs or SYS_ADMIN.
pub fn load(program: &Program) -> io::Result<()> {
    let length = u16::try_from(program.0.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "seccomp filter is too long"))?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.0.as_ptr().cast_mut().cast::<libc::sock_filter>(),
    };
    // Not seccompiler's own loader: it would set no_new_privs, which is the container's choice.
    // SAFETY: `program` points to `len` instructions (seccompiler's type has the kernel's layout), and outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
