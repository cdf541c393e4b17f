//! `/stats/summary`: node, pods and containers in one document, as `stats/v1alpha1 Summary`.

use std::{path::Path, sync::PoisonError};

use cri::v1::{CpuUsage, FilesystemUsage, ImageFsInfoRequest, MemoryUsage, NetworkUsage};
use http::Response;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use super::{
    super::{
        body::{self, Body, Refusal},
        query::Query,
        router::Router,
    },
    machine::{Filesystem, Machine},
    rate::Rates,
    usage::{self, PodUsage, value},
    volumes::volumes_by_pod,
};
use crate::pod::uid;

/// With `only_cpu_and_memory=true` nothing else is looked at.
pub(in super::super) async fn summary(
    router: &Router,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let only_cpu_and_memory = query.get("only_cpu_and_memory") == Some("true");
    let config = router.host.config();
    let usage = usage::collect(router.host.runtime().as_ref()).await?;
    let images = router
        .host
        .images()
        .image_fs_info(ImageFsInfoRequest::default())
        .await?;
    let machine = Machine::look(Timestamp::now());
    let node_fs = Filesystem::look(&config.root_dir);
    let image_usage = images.image_filesystems.first();
    let image_fs = image_usage
        .and_then(|usage| usage.fs_id.as_ref())
        .and_then(|id| Filesystem::look(Path::new(&id.mountpoint)));

    let mut rates = router
        .stats
        .rates
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    rates.begin();
    let mut node = node_part(&config.node_name, &machine, &mut rates);
    if !only_cpu_and_memory {
        let fs = |fs: Option<Filesystem>, used: Option<&FilesystemUsage>| {
            filesystem(machine.time, fs, used)
        };
        node.insert("fs".to_owned(), fs(node_fs, None));
        let container_usage = images.container_filesystems.first();
        let runtime = json!({
            "imageFs": fs(image_fs, image_usage), "containerFs": fs(image_fs, container_usage),
        });
        node.insert("runtime".to_owned(), runtime);
        let rlimit = json!({
            "time": machine.time, "maxpid": machine.max_pid, "curproc": machine.processes,
        });
        node.insert("rlimit".to_owned(), rlimit);
    }
    let mut volumes = match only_cpu_and_memory {
        true => Default::default(),
        false => volumes_by_pod(router.host.claimed_disks(), machine.time),
    };
    let pods: Vec<Value> = router
        .host
        .pods()
        .iter()
        .filter_map(|pod| usage.get(uid(pod)).map(|usage| (pod, usage)))
        .map(|(pod, usage)| {
            let mut part = pod_part(pod, usage, image_fs, only_cpu_and_memory, &mut rates);
            if let Some(volumes) = volumes.remove(uid(pod)) {
                part["volume"] = volumes.into();
            }
            part
        })
        .collect();
    rates.forget_unread();
    drop(rates);
    body::json(&json!({ "node": node, "pods": pods }))
}

fn node_part(name: &str, machine: &Machine, rates: &mut Rates) -> Map<String, Value> {
    let now = i64::try_from(machine.time.as_nanosecond()).unwrap_or_default();
    let mut node = Map::new();
    let mut set = |name: &str, value: Value| node.insert(name.to_owned(), value);
    set("nodeName", json!(name));
    set("startTime", json!(machine.boot_time));
    set(
        "cpu",
        json!({
            "time": machine.time,
            "usageNanoCores": rates.read("node", now, machine.cpu_ns).unwrap_or_default(),
            "usageCoreNanoSeconds": machine.cpu_ns,
        }),
    );
    set(
        "memory",
        json!({
            "time": machine.time,
            "availableBytes": machine.memory.available,
            "usageBytes": machine.memory.usage,
            "workingSetBytes": machine.memory.working_set,
            "rssBytes": machine.memory.rss,
        }),
    );
    if let Some(network) = &machine.network {
        let interface = json!({
            "name": network.name,
            "rxBytes": network.rx_bytes, "rxErrors": network.rx_errors,
            "txBytes": network.tx_bytes, "txErrors": network.tx_errors,
        });
        let mut with_time = interface.clone();
        with_time["time"] = json!(machine.time);
        with_time["interfaces"] = json!([interface]);
        set("network", with_time);
    }
    node
}

fn pod_part(
    pod: &Pod,
    usage: &PodUsage,
    image_fs: Option<Filesystem>,
    only_cpu_and_memory: bool,
    rates: &mut Rates,
) -> Value {
    let status = pod.status.as_ref();
    let mut used_by_containers = 0;
    let containers: Vec<Value> = usage
        .containers
        .iter()
        .map(|(name, container)| {
            let mut part = json!({
                "name": name,
                "startTime": time(container.created_at_ns),
                "cpu": cpu(container.stats.cpu.as_ref(), &container.id, rates),
                "memory": memory(container.stats.memory.as_ref()),
            });
            if !only_cpu_and_memory {
                let layer = container.stats.writable_layer.as_ref();
                used_by_containers += layer
                    .and_then(|layer| value(&layer.used_bytes))
                    .unwrap_or_default();
                let read = layer.map_or(0, |layer| layer.timestamp);
                part["rootfs"] = filesystem(time(read), image_fs, layer);
            }
            part
        })
        .collect();
    let mut part = json!({
        "podRef": { "name": usage.name, "namespace": usage.namespace, "uid": usage.uid },
        "startTime": status.and_then(|status| status.start_time.clone()),
        "containers": containers,
        "cpu": cpu(usage.whole.cpu.as_ref(), &usage.sandbox_id, rates),
        "memory": memory(usage.whole.memory.as_ref()),
    });
    if !only_cpu_and_memory {
        if let Some(network) = &usage.whole.network {
            part["network"] = pod_network(network);
        }
        if let Some(processes) = &usage.whole.process {
            part["process_stats"] = json!({ "process_count": value(&processes.process_count) });
        }
        let used = FilesystemUsage {
            used_bytes: Some(cri::v1::UInt64Value {
                value: used_by_containers,
            }),
            ..FilesystemUsage::default()
        };
        part["ephemeral-storage"] = filesystem(Timestamp::now(), image_fs, Some(&used));
    }
    part
}

fn cpu(usage: Option<&CpuUsage>, counter: &str, rates: &mut Rates) -> Option<Value> {
    let usage = usage?;
    let total = value(&usage.usage_core_nano_seconds)?;
    let rate = rates.read(counter, usage.timestamp, total);
    let rate = value(&usage.usage_nano_cores).or(rate).unwrap_or_default();
    Some(json!({
        "time": time(usage.timestamp), "usageNanoCores": rate, "usageCoreNanoSeconds": total,
    }))
}

fn memory(usage: Option<&MemoryUsage>) -> Option<Value> {
    let usage = usage?;
    Some(without_nulls(json!({
        "time": time(usage.timestamp),
        "availableBytes": value(&usage.available_bytes).filter(|bytes| *bytes > 0),
        "usageBytes": value(&usage.usage_bytes),
        "workingSetBytes": value(&usage.working_set_bytes),
        "rssBytes": value(&usage.rss_bytes),
        "pageFaults": value(&usage.page_faults),
        "majorPageFaults": value(&usage.major_page_faults),
    })))
}

fn pod_network(network: &NetworkUsage) -> Value {
    let interface = |usage: &cri::v1::NetworkInterfaceUsage| {
        without_nulls(json!({
            "name": usage.name,
            "rxBytes": value(&usage.rx_bytes), "rxErrors": value(&usage.rx_errors),
            "txBytes": value(&usage.tx_bytes), "txErrors": value(&usage.tx_errors),
        }))
    };
    let mut part = network
        .default_interface
        .as_ref()
        .map_or_else(|| json!({}), interface);
    part["time"] = json!(time(network.timestamp));
    let all = network.interfaces.iter().chain(&network.default_interface);
    part["interfaces"] = all.map(interface).collect();
    part
}

pub(super) fn filesystem(
    time: Timestamp,
    fs: Option<Filesystem>,
    used: Option<&FilesystemUsage>,
) -> Value {
    let used_bytes = match used {
        Some(used) => value(&used.used_bytes),
        None => fs.map(|fs| fs.capacity.saturating_sub(fs.available)),
    };
    let inodes_used = match used {
        Some(used) => value(&used.inodes_used),
        None => fs.map(|fs| fs.inodes.saturating_sub(fs.inodes_free)),
    };
    without_nulls(json!({
        "time": time,
        "availableBytes": fs.map(|fs| fs.available),
        "capacityBytes": fs.map(|fs| fs.capacity),
        "usedBytes": used_bytes,
        "inodesFree": fs.map(|fs| fs.inodes_free),
        "inodes": fs.map(|fs| fs.inodes),
        "inodesUsed": inodes_used,
    }))
}

/// Fields that nobody measured are left out.
fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

/// A CRI time.
fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default()
}
