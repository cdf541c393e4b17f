//! What a container gets of its pod's block volumes.

use std::collections::HashMap;

use cri::v1::Device;
use k8s_openapi::api::core::v1::Container;

use super::MountedVolume;

/// The devices of a container, in the order of its spec. The error is a message for an event.
pub fn container_devices(
    container: &Container,
    volumes: &HashMap<String, MountedVolume>,
) -> Result<Vec<Device>, String> {
    let asked = container.volume_devices.iter().flatten();
    let device = |asked: &k8s_openapi::api::core::v1::VolumeDevice| {
        if !asked.device_path.starts_with('/') {
            return Err(format!(
                "error DevicePath `{}` must be an absolute path",
                asked.device_path
            ));
        }
        match volumes.get(&asked.name) {
            Some(MountedVolume::Device { path, read_only }) => Ok(Device {
                container_path: asked.device_path.clone(),
                host_path: path.to_string_lossy().into_owned(),
                permissions: if *read_only { "r" } else { "mrw" }.to_owned(),
            }),
            _ => Err(format!(
                "cannot find volume {:?} to pass into container {:?}",
                asked.name, container.name
            )),
        }
    };
    asked.map(device).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_device_is_given_at_its_path() {
        let container = |name: &str| -> Container {
            serde_json::from_value(json!({
                "name": "c", "volumeDevices": [{"name": name, "devicePath": "/dev/xvda"}],
            }))
            .unwrap()
        };
        let device = MountedVolume::Device {
            path: "/dev/loop0".into(),
            read_only: true,
        };
        let volumes = HashMap::from([
            ("disk".to_owned(), device),
            ("files".to_owned(), MountedVolume::at("/srv", false)),
        ]);
        let given = container_devices(&container("disk"), &volumes).unwrap();
        assert_eq!(
            (given[0].host_path.as_str(), given[0].permissions.as_str()),
            ("/dev/loop0", "r")
        );
        for wrong in ["files", "none"] {
            let error = container_devices(&container(wrong), &volumes).unwrap_err();
            assert!(error.contains("to pass into container"), "{error}");
        }
    }
}
