//! The Container Runtime Interface v1: messages and the `RuntimeService` and `ImageService` traits.
