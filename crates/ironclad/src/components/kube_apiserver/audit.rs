//! The flags of the audit log.

use std::{path::PathBuf, time::Duration};

use apiserver::audit::{BatchConfig, Config, Mode, Throttle, Truncate, log, webhook};
use clap::{ArgAction, Args, ValueEnum};

use crate::components::flags::duration;

/// Upstream's names and defaults.
#[derive(Debug, Args)]
pub(super) struct AuditFlags {
    /// What is written of which request; without it nothing is
    #[arg(long)]
    audit_policy_file: Option<PathBuf>,
    /// File that events are written to; - is standard output
    #[arg(long)]
    audit_log_path: Option<PathBuf>,
    /// Days that rotated files are kept; 0 keeps them
    #[arg(long, default_value_t = 0)]
    audit_log_maxage: u32,
    /// Rotated files that are kept; 0 keeps all
    #[arg(long, default_value_t = 0)]
    audit_log_maxbackup: usize,
    /// Megabytes at which the file is rotated
    #[arg(long, default_value_t = 100)]
    audit_log_maxsize: u64,
    /// Compress rotated files
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    audit_log_compress: bool,
    /// How an event is written to the file
    #[arg(long, value_enum, default_value = "json")]
    audit_log_format: LogFormat,
    /// Whether requests wait until their events are in the file
    #[arg(long, value_enum, default_value = "blocking")]
    audit_log_mode: AuditMode,
    /// Events held for the file at most
    #[arg(long, default_value_t = 10_000)]
    audit_log_batch_buffer_size: usize,
    /// Events of a batch at most
    #[arg(long, default_value_t = 1)]
    audit_log_batch_max_size: usize,
    /// How long a batch that is not full is waited for
    #[arg(long, default_value = "0s", value_parser = duration)]
    audit_log_batch_max_wait: Duration,
    /// Limit batches a second
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    audit_log_batch_throttle_enable: bool,
    /// Batches a second
    #[arg(long, default_value_t = 0.0)]
    audit_log_batch_throttle_qps: f64,
    /// Batches at once after a quiet time
    #[arg(long, default_value_t = 0)]
    audit_log_batch_throttle_burst: u32,
    /// Cut events and batches that are too large
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    audit_log_truncate_enabled: bool,
    /// Bytes of an event at most
    #[arg(long, default_value_t = 102_400)]
    audit_log_truncate_max_event_size: usize,
    /// Bytes of a batch at most
    #[arg(long, default_value_t = 10_485_760)]
    audit_log_truncate_max_batch_size: usize,
    /// Webhook that events are posted to, in kubeconfig form
    #[arg(long)]
    audit_webhook_config_file: Option<PathBuf>,
    /// How long to wait before a batch is sent again for the first time
    #[arg(long, default_value = "10s", value_parser = duration)]
    audit_webhook_initial_backoff: Duration,
    /// Whether requests wait until their events have been posted
    #[arg(long, value_enum, default_value = "batch")]
    audit_webhook_mode: AuditMode,
    /// Events held for the webhook at most
    #[arg(long, default_value_t = 10_000)]
    audit_webhook_batch_buffer_size: usize,
    /// Events of a batch at most
    #[arg(long, default_value_t = 400)]
    audit_webhook_batch_max_size: usize,
    /// How long a batch that is not full is waited for
    #[arg(long, default_value = "30s", value_parser = duration)]
    audit_webhook_batch_max_wait: Duration,
    /// Limit batches a second
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    audit_webhook_batch_throttle_enable: bool,
    /// Batches a second
    #[arg(long, default_value_t = 10.0)]
    audit_webhook_batch_throttle_qps: f64,
    /// Batches at once after a quiet time
    #[arg(long, default_value_t = 15)]
    audit_webhook_batch_throttle_burst: u32,
    /// Cut events and batches that are too large
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    audit_webhook_truncate_enabled: bool,
    /// Bytes of an event at most
    #[arg(long, default_value_t = 102_400)]
    audit_webhook_truncate_max_event_size: usize,
    /// Bytes of a batch at most
    #[arg(long, default_value_t = 10_485_760)]
    audit_webhook_truncate_max_batch_size: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Json,
    Legacy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AuditMode {
    Batch,
    Blocking,
    BlockingStrict,
}

impl From<AuditMode> for Mode {
    fn from(mode: AuditMode) -> Self {
        match mode {
            AuditMode::Batch => Self::Batch,
            AuditMode::Blocking => Self::Blocking,
            AuditMode::BlockingStrict => Self::BlockingStrict,
        }
    }
}

impl AuditFlags {
    /// As the server takes them.
    pub(super) fn config(&self) -> Config {
        Config {
            policy_file: self.audit_policy_file.clone(),
            log: self.audit_log_path.clone().map(|path| self.log(path)),
            webhook: self
                .audit_webhook_config_file
                .clone()
                .map(|file| self.webhook(file)),
        }
    }

    fn log(&self, path: PathBuf) -> log::Config {
        log::Config {
            path,
            max_age_days: self.audit_log_maxage,
            max_backups: self.audit_log_maxbackup,
            max_size_mb: self.audit_log_maxsize,
            compress: self.audit_log_compress,
            format: match self.audit_log_format {
                LogFormat::Json => log::Format::Json,
                LogFormat::Legacy => log::Format::Legacy,
            },
            batch: BatchConfig {
                mode: self.audit_log_mode.into(),
                buffer_size: self.audit_log_batch_buffer_size,
                max_size: self.audit_log_batch_max_size,
                max_wait: self.audit_log_batch_max_wait,
                throttle: self.audit_log_batch_throttle_enable.then_some(Throttle {
                    qps: self.audit_log_batch_throttle_qps,
                    burst: self.audit_log_batch_throttle_burst,
                }),
                truncate: self.audit_log_truncate_enabled.then_some(Truncate {
                    max_event_size: self.audit_log_truncate_max_event_size,
                    max_batch_size: self.audit_log_truncate_max_batch_size,
                }),
            },
        }
    }

    fn webhook(&self, config_file: PathBuf) -> webhook::Config {
        webhook::Config {
            config_file,
            initial_backoff: self.audit_webhook_initial_backoff,
            batch: BatchConfig {
                mode: self.audit_webhook_mode.into(),
                buffer_size: self.audit_webhook_batch_buffer_size,
                max_size: self.audit_webhook_batch_max_size,
                max_wait: self.audit_webhook_batch_max_wait,
                throttle: self
                    .audit_webhook_batch_throttle_enable
                    .then_some(Throttle {
                        qps: self.audit_webhook_batch_throttle_qps,
                        burst: self.audit_webhook_batch_throttle_burst,
                    }),
                truncate: self.audit_webhook_truncate_enabled.then_some(Truncate {
                    max_event_size: self.audit_webhook_truncate_max_event_size,
                    max_batch_size: self.audit_webhook_truncate_max_batch_size,
                }),
            },
        }
    }
}
