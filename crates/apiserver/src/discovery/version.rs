//! `/version`: whose API this is, and which build.

use apimachinery::Object;
use serde_json::json;

/// What `kubectl version` shows of the server.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// The API's minor version.
    pub minor: u32,
    /// Patch level of the upstream release whose behaviour is followed.
    pub patch: u32,
    /// Our own release on it.
    pub build: u32,
}

impl Version {
    /// The version that this source implements.
    pub const CURRENT: Self = Self {
        minor: 36,
        patch: 2,
        build: 1,
    };

    /// `v1.36.2+ironclad.1`.
    pub fn git_version(&self) -> String {
        format!("v1.{}.{}+ironclad.{}", self.minor, self.patch, self.build)
    }

    /// The document.
    pub fn document(&self) -> Object {
        let minor = self.minor.to_string();
        let document = json!({
            "major": "1", "minor": minor,
            "emulationMajor": "1", "emulationMinor": minor,
            "minCompatibilityMajor": "1", "minCompatibilityMinor": (self.minor - 1).to_string(),
            "gitVersion": self.git_version(),
            "gitCommit": option_env!("IRONCLAD_GIT_COMMIT").unwrap_or_default(),
            "gitTreeState": option_env!("IRONCLAD_GIT_TREE_STATE").unwrap_or("unknown"),
            "buildDate": option_env!("IRONCLAD_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z"),
            "goVersion": "", "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, go_architecture()),
        });
        document.as_object().cloned().unwrap_or_default()
    }
}

/// Go's names for processors are those that clients know.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
