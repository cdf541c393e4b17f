//! What kubeadm does: PKI, kubeconfigs, tokens.
