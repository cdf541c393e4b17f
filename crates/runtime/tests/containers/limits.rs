//! What containers may use, and what they may do.

use crate::node::{context, on_node, script};
use cri::{RuntimeService as _, v1::*};

#[test]
fn limits_hold_and_oom_is_told() {
    on_node(async |node| {
        let pod = node.pod().await;
        let mut config = script("greedy", "head -c 100000000 /dev/zero | tail");
        config.linux.as_mut().unwrap().resources = Some(LinuxContainerResources {
            memory_limit_in_bytes: 16 << 20,
            cpu_shares: 512,
            cpu_period: 100_000,
            cpu_quota: 50_000,
            oom_score_adj: 900,
            ..LinuxContainerResources::default()
        });
        let (status, _) = node.run(&pod, config.clone()).await;
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (137, "OOMKilled"),
            "{status:?}"
        );

        config.metadata.as_mut().unwrap().name = "modest".to_owned();
        config.command[2] = "cat /proc/self/oom_score_adj; sleep 1000".to_owned();
        let id = node.start_container(&pod, config).await;
        let request = ContainerStatsRequest {
            container_id: id.clone(),
        };
        let stats = node
            .runtime
            .container_stats(request)
            .await
            .unwrap()
            .stats
            .unwrap();
        let memory = stats.memory.unwrap();
        assert!(memory.working_set_bytes.unwrap().value > 0);
        assert!(memory.available_bytes.unwrap().value < 16 << 20);
        assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);
        let update = UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(LinuxContainerResources {
                memory_limit_in_bytes: 32 << 20,
                ..LinuxContainerResources::default()
            }),
            ..UpdateContainerResourcesRequest::default()
        };
        node.runtime
            .update_container_resources(update)
            .await
            .unwrap();
        let request = ContainerStatsRequest { container_id: id };
        let stats = node
            .runtime
            .container_stats(request)
            .await
            .unwrap()
            .stats
            .unwrap();
        assert!(stats.memory.unwrap().available_bytes.unwrap().value > 16 << 20);
        node
    });
}

#[test]
fn privileges_are_what_was_asked_for() {
    on_node(async |node| {
        let pod = node.pod().await;
        let proc_status =
            "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t '";
        let (_, out) = node.run(&pod, script("default", proc_status)).await;
        let caps = "CapEff:00000000a80425fb\nCapBnd:00000000a80425fb\n";
        assert_eq!(out, format!("{caps}NoNewPrivs:0\nSeccomp:2\n"));

        let mut config = script(
            "bare",
            &format!("{proc_status}; id; touch /x; mkdir /x; unshare -m true"),
        );
        let security = context(&mut config);
        security.capabilities = Some(Capability {
            drop_capabilities: vec!["ALL".to_owned()],
            ..Capability::default()
        });
        security.no_new_privs = true;
        security.readonly_rootfs = true;
        security.run_as_user = Some(Int64Value { value: 33 });
        security.supplemental_groups = vec![7];
        let (status, out) = node.run(&pod, config).await;
        assert!(
            out.contains(
                "CapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n"
            ),
            "{out}"
        );
        assert!(
            out.contains("uid=33(web) gid=34(www) groups=7,34(www),50(media)"),
            "{out}"
        );
        assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
        assert!(
            out.contains("unshare: ") && out.contains("Operation not permitted"),
            "{out}"
        );
        let user = status.user.unwrap().linux.unwrap();
        assert_eq!(
            (user.uid, user.gid, user.supplemental_groups),
            (33, 34, vec![34, 7, 50])
        );

        let mut config = script(
            "masked",
            "cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; echo done",
        );
        context(&mut config).masked_paths =
            vec!["/proc/interrupts".to_owned(), "/sys/firmware".to_owned()];
        context(&mut config).readonly_paths = vec!["/proc/sys".to_owned()];
        let (_, out) = node.run(&pod, config).await;
        assert!(
            out.starts_with("0\n0\n") && out.contains("Read-only file system"),
            "{out}"
        );

        let mut config = script(
            "privileged",
            &format!(
                "{proc_status}; mount -t tmpfs none /tmp && echo mounted; ls /dev/vda /dev/loop0 2>/dev/null | wc -l; mkdir /sys/fs/cgroup/memory/x; ls -d /dev/kmsg"
            ),
        );
        context(&mut config).privileged = true;
        let (_, out) = node.run(&pod, config).await;
        assert!(
            out.contains("Seccomp:0\n") && out.contains("/dev/kmsg"),
            "{out}"
        );
        node
    });
}
