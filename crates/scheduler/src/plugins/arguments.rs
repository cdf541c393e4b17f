//! What a configuration tells a plugin (`pluginConfig[].args`).

use serde::de::DeserializeOwned;

/// The arguments of one plugin, as the configuration has them; none is upstream's defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments(pub(crate) Option<serde_json::Value>);

/// Why a plugin cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("initializing plugin {plugin:?}: {field}: {message}")]
pub struct PluginError {
    plugin: &'static str,
    field: String,
    message: String,
}

impl PluginError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            plugin: "",
            field: field.into(),
            message: message.into(),
        }
    }

    /// Says whose it is.
    pub(crate) fn of(mut self, plugin: &'static str) -> Self {
        self.plugin = plugin;
        self
    }
}

impl Arguments {
    /// Reads them; `apiVersion` and `kind` have been looked at by the configuration.
    pub(crate) fn parse<T: DeserializeOwned + Default>(&self) -> Result<T, PluginError> {
        let Some(mut value) = self.0.clone() else {
            return Ok(T::default());
        };
        if let Some(object) = value.as_object_mut() {
            object.remove("apiVersion");
            object.remove("kind");
        }
        serde_json::from_value(value).map_err(|error| PluginError::new("args", error.to_string()))
    }
}
