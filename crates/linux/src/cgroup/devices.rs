//! Which devices a cgroup's processes may use: the devices controller of version 1, an eBPF program in version 2.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

use super::Setting;

/// Block, character, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both, of any number.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// What may be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Make nodes.
    pub mknod: bool,
}

impl Access {
    /// Everything.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        mknod: true,
    };
    /// Only making nodes.
    pub const MKNOD: Self = Self {
        read: false,
        write: false,
        mknod: true,
    };

    /// From letters, as CRI has them (`rwm`).
    pub fn parse(letters: &str) -> Self {
        Self {
            read: letters.contains('r'),
            write: letters.contains('w'),
            mknod: letters.contains('m'),
        }
    }

    /// The kernel's bits (BPF_DEVCG_ACC_*).
    fn bits(self) -> i32 {
        i32::from(self.mknod) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }

    fn letters(self) -> String {
        let letters = [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')];
        letters
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, letter)| *letter)
            .collect()
    }
}

/// Allows access to devices; `None` for a number is any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Kind.
    pub kind: DeviceKind,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// What is allowed.
    pub access: Access,
}

impl DeviceRule {
    /// Every access to every device.
    pub const ALL: Self = Self {
        kind: DeviceKind::All,
        major: None,
        minor: None,
        access: Access::ALL,
    };
}

pub(super) fn settings_v1(allowed: &[DeviceRule]) -> Vec<Setting> {
    let mut settings = vec![Setting::new("devices", "devices.deny", "a")];
    let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
    settings.extend(allowed.iter().map(|rule| {
        let value = match rule.kind {
            DeviceKind::All => "a".to_owned(),
            kind => {
                let letter = if kind == DeviceKind::Block { 'b' } else { 'c' };
                let (major, minor) = (number(rule.major), number(rule.minor));
                format!("{letter} {major}:{minor} {}", rule.access.letters())
            }
        };
        Setting::new("devices", "devices.allow", value)
    }));
    settings
}

/// One eBPF instruction, as the kernel lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u8,
    /// Destination in the low four bits, source in the high.
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

// Opcodes (linux/bpf.h): class, size or source, operation.
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_IMMEDIATE: u8 = 0xb4;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x74;
const JUMP_NOT_EQUAL_IMMEDIATE: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const EXIT: u8 = 0x95;

// Registers of the program below.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

const KIND_BLOCK: i32 = 1;
const KIND_CHAR: i32 = 2;

fn op(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: destination | source << 4,
        offset,
        immediate,
    }
}

/// A program that returns 1 for what a rule allows, else 0. The context is three words: access in the high and kind in the low half of
/// the first, then major, then minor.
pub(super) fn program(allowed: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        op(LOAD_WORD, KIND, CONTEXT, 0, 0),
        op(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        op(SHIFT_RIGHT_IMMEDIATE, ACCESS, 0, 0, 16),
        op(AND_IMMEDIATE, KIND, 0, 0, 0xffff),
        op(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        op(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in allowed {
        let mut body = Vec::new();
        // Jump offsets are set when the block's length is known.
        let mut unless_equal = |register, value: i32| {
            body.push(op(JUMP_NOT_EQUAL_IMMEDIATE, register, 0, 0, value));
        };
        match rule.kind {
            DeviceKind::All => {}
            DeviceKind::Block => unless_equal(KIND, KIND_BLOCK),
            DeviceKind::Char => unless_equal(KIND, KIND_CHAR),
        }
        if let Some(major) = rule.major {
            unless_equal(MAJOR, major.cast_signed());
        }
        if let Some(minor) = rule.minor {
            unless_equal(MINOR, minor.cast_signed());
        }
        if rule.access != Access::ALL {
            body.push(op(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0));
            body.push(op(AND_IMMEDIATE, SCRATCH, 0, 0, rule.access.bits()));
            body.push(op(JUMP_NOT_EQUAL_REGISTER, SCRATCH, ACCESS, 0, 0));
        }
        body.push(op(MOVE_IMMEDIATE, RESULT, 0, 0, 1));
        body.push(op(EXIT, 0, 0, 0, 0));
        let length = body.len();
        for (index, instruction) in body.iter_mut().enumerate() {
            if matches!(
                instruction.code,
                JUMP_NOT_EQUAL_IMMEDIATE | JUMP_NOT_EQUAL_REGISTER
            ) {
                instruction.offset = i16::try_from(length - index - 1).unwrap_or(i16::MAX);
            }
        }
        program.extend(body);
    }
    program.push(op(MOVE_IMMEDIATE, RESULT, 0, 0, 0));
    program.push(op(EXIT, 0, 0, 0, 0));
    program
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` for BPF_PROG_LOAD; what follows in newer kernels is zero.
#[repr(C)]
#[derive(Default)]
struct LoadArguments {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface_index: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct AttachArguments {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_long, arguments: &T) -> io::Result<RawFd> {
    // SAFETY: both commands read a prefix of `union bpf_attr` of the given size, which the argument structs are.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(arguments),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}

/// Loads the program and attaches it. It goes when the cgroup goes.
pub(super) fn attach_v2(directory: &Path, allowed: &[DeviceRule]) -> io::Result<()> {
    let program = program(allowed);
    let license = c"Apache-2.0";
    let load = LoadArguments {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..LoadArguments::default()
    };
    let fd = bpf(BPF_PROG_LOAD, &load)?;
    // SAFETY: BPF_PROG_LOAD gave a new descriptor, which nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let directory = std::fs::File::open(directory)?;
    let attach = AttachArguments {
        target: directory.as_raw_fd().cast_unsigned(),
        program: fd.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attach)?;
    Ok(())
}
