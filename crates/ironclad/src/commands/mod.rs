//! One file a command.

pub(crate) mod down;
pub(crate) mod hello;
pub(crate) mod image;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod token;
