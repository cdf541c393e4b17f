//! How a command ended, as the error stream says it: a `meta/v1 Status` from which clients take the exit code.

use serde_json::{Value, json};

/// It ended with 0, or the container that was attached to has ended.
pub(super) fn success() -> Value {
    json!({ "metadata": {}, "status": "Success" })
}

/// It ended with this code.
pub(super) fn exited(command: &[String], code: i32) -> Value {
    if code == 0 {
        return success();
    }
    let command = command.join(" ");
    let message = format!(
        "command terminated with non-zero exit code: error executing command [{command}], exit code {code}"
    );
    json!({
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NonZeroExitCode",
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

/// It could not be run, or the runtime lost it.
pub(super) fn internal(error: &str) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {error}"),
        "reason": "InternalError",
        "details": { "causes": [{ "message": error }] },
        "code": 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_a_cause() {
        let status = exited(&["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()], 3);
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(
            status["details"]["causes"][0],
            json!({ "reason": "ExitCode", "message": "3" })
        );
        assert_eq!(
            status["message"],
            "command terminated with non-zero exit code: error executing command [sh -c exit 3], exit code 3"
        );
        assert_eq!(exited(&[], 0), success());
    }
}
