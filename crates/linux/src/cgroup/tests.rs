//! Pure parts by tables; the real hierarchy of this machine in a cgroup of the test's own.

use super::*;

const HYBRID: &str = "\
30 23 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 23 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
";
const UNIFIED: &str = "28 22 0:25 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

#[test]
fn hierarchies_are_told_apart() {
    let hybrid = Hierarchy::parse(HYBRID).unwrap();
    assert_eq!(hybrid.version(), Version::V1);
    assert_eq!(
        hybrid.mount_of("cpuacct"),
        Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"))
    );
    assert_eq!(hybrid.mount_of("pids"), None);
    let unified = Hierarchy::parse(UNIFIED).unwrap();
    assert_eq!(unified.version(), Version::V2);
    assert_eq!(
        unified.mount_of("memory"),
        Some(Path::new("/sys/fs/cgroup"))
    );
    assert_eq!(
        Hierarchy::parse("22 1 0:21 / /proc rw - proc proc rw\n"),
        None
    );
}

fn limits() -> Resources {
    Resources {
        cpu_shares: Some(1024),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit: Some(64 << 20),
        memory_swap_limit: Some(64 << 20),
        oom_group: Some(true),
        pids_limit: Some(-1),
        hugepages: vec![("2MB".to_owned(), 0)],
        ..Resources::default()
    }
}

fn shown(settings: Vec<Setting>) -> Vec<String> {
    settings
        .into_iter()
        .map(|s| format!("{}={}", s.file, s.value))
        .collect()
}

#[test]
fn limits_become_files() {
    assert_eq!(
        shown(v1::settings(&limits())),
        [
            "cpu.shares=1024",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "memory.limit_in_bytes=67108864",
            "memory.memsw.limit_in_bytes=67108864",
            "pids.max=max",
            "hugetlb.2MB.limit_in_bytes=0"
        ]
    );
    assert_eq!(
        shown(v2::settings(&limits())),
        [
            "cpu.weight=100",
            "cpu.max=50000 100000",
            "memory.max=67108864",
            "memory.swap.max=0",
            "memory.oom.group=1",
            "pids.max=max",
            "hugetlb.2MB.max=0"
        ]
    );
    let unlimited = Resources {
        cpu_quota_us: Some(-1),
        ..Resources::default()
    };
    assert_eq!(shown(v2::settings(&unlimited)), ["cpu.max=max 100000"]);
}

#[test]
fn weights_follow_the_curve() {
    for (shares, weight) in [
        (0, 1),
        (2, 1),
        (1024, 100),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(v2::cpu_weight(shares), weight, "{shares} shares");
    }
    assert!((2..4096).all(|shares| v2::cpu_weight(shares) <= v2::cpu_weight(shares + 1)));
}

#[test]
fn stats_of_version_2_are_read() {
    let stats = v2::parse_stats(&v2::Files {
        cpu_stat: "usage_usec 1500\nuser_usec 1000\n".to_owned(),
        memory_current: "1000".to_owned(),
        memory_max: "max".to_owned(),
        memory_stat: "anon 600\nfile 400\ninactive_file 300\npgfault 7\npgmajfault 2\n".to_owned(),
        memory_events: "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n".to_owned(),
        pids_current: "4".to_owned(),
    });
    let expected = Stats {
        cpu_usage_ns: 1_500_000,
        memory_usage: 1000,
        memory_working_set: 700,
        memory_rss: 600,
        memory_limit: None,
        page_faults: 7,
        major_page_faults: 2,
        processes: 4,
        oom_kills: 1,
    };
    assert_eq!(stats, expected);
}

/// Runs a device program as the kernel would.
fn allows(program: &[devices::Instruction], kind: i32, access: i32, numbers: (i32, i32)) -> bool {
    let mut registers = [0_i32; 7];
    let context = [access << 16 | kind, numbers.0, numbers.1];
    let mut at = 0_usize;
    loop {
        let instruction = program[at];
        let to = usize::from(instruction.registers & 15);
        let from = usize::from(instruction.registers >> 4);
        at += 1;
        let differs = match instruction.code {
            0x61 => {
                registers[to] = context[usize::try_from(instruction.offset).unwrap() / 4];
                false
            }
            0xbc => {
                registers[to] = registers[from];
                false
            }
            0xb4 => {
                registers[to] = instruction.immediate;
                false
            }
            0x54 => {
                registers[to] &= instruction.immediate;
                false
            }
            0x74 => {
                registers[to] >>= instruction.immediate;
                false
            }
            0x55 => registers[to] != instruction.immediate,
            0x5d => registers[to] != registers[from],
            0x95 => return registers[0] == 1,
            other => panic!("unknown instruction {other:#x}"),
        };
        if differs {
            at += usize::try_from(instruction.offset).unwrap();
        }
    }
}

#[test]
fn device_rules_for_both_versions() {
    let null = DeviceRule {
        kind: DeviceKind::Char,
        major: Some(1),
        minor: Some(3),
        access: Access::ALL,
    };
    let terminals = DeviceRule {
        minor: None,
        major: Some(136),
        access: Access::parse("rw"),
        ..null
    };
    let nodes = DeviceRule {
        kind: DeviceKind::Block,
        major: None,
        minor: None,
        access: Access::MKNOD,
    };
    let rules = [null, terminals, nodes];
    assert_eq!(
        shown(devices::settings_v1(&rules)),
        [
            "devices.deny=a",
            "devices.allow=c 1:3 rwm",
            "devices.allow=c 136:* rw",
            "devices.allow=b *:* m"
        ]
    );
    let program = devices::program(&rules);
    let (block, char) = (1, 2);
    let (mknod, read, write) = (1, 2, 4);
    assert!(allows(&program, char, read | write, (1, 3)));
    assert!(!allows(&program, char, read, (1, 11)));
    assert!(allows(&program, char, read | write, (136, 5)));
    assert!(!allows(&program, char, mknod, (136, 5)));
    assert!(allows(&program, block, mknod, (8, 0)));
    assert!(!allows(&program, block, read, (8, 0)));
    assert!(allows(
        &devices::program(&[DeviceRule::ALL]),
        block,
        read,
        (8, 0)
    ));
}

#[test]
fn a_real_cgroup_is_made_limited_killed_and_removed() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test needs root: it makes a cgroup"
    );
    let hierarchy = Arc::new(Hierarchy::detect().unwrap());
    let name = format!("/ironclad-test/cgroup-{}", std::process::id());
    let cgroup = Cgroup::new(hierarchy, &name).unwrap();
    cgroup.create().unwrap();
    let result = std::panic::catch_unwind(|| {
        cgroup
            .apply(&Resources {
                memory_limit: Some(32 << 20),
                pids_limit: Some(10),
                ..Resources::default()
            })
            .unwrap();
        cgroup.restrict_devices(&[DeviceRule::ALL]).unwrap();
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        cgroup.add(pid).unwrap();
        assert_eq!(cgroup.processes(true).unwrap(), [pid]);
        let stats = cgroup.stats().unwrap();
        assert_eq!((stats.memory_limit, stats.processes), (Some(32 << 20), 1));
        let waiter = std::thread::spawn(move || child.wait());
        cgroup.kill().unwrap();
        assert!(!waiter.join().unwrap().unwrap().success());
    });
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
    assert!(!cgroup.exists());
    // The common parent goes with the last test that used it.
    for directory in Cgroup::new(cgroup.hierarchy.clone(), "/ironclad-test")
        .unwrap()
        .directories()
    {
        let _ = fs::remove_dir(directory);
    }
    result.unwrap();
}

#[test]
fn the_kernel_takes_the_device_program() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test needs root: it loads a program"
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let mount = line
        .expect("this test needs cgroup2 mounted")
        .split(' ')
        .nth(4)
        .unwrap();
    let directory = Path::new(mount).join(format!("ironclad-test-devices-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let null = DeviceRule {
        kind: DeviceKind::Char,
        major: Some(1),
        minor: Some(3),
        access: Access::parse("rw"),
    };
    let attached = devices::attach_v2(&directory, &[null]);
    // A process inside may use null and not zero.
    let script = format!(
        "echo 0 > {}/cgroup.procs; cat /dev/null && ! head -c1 /dev/zero",
        directory.display()
    );
    let tried = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .output();
    remove_tree(&directory).unwrap();
    attached.unwrap();
    let tried = tried.unwrap();
    assert!(tried.status.success(), "{tried:?}");
}
