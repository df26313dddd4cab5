//! Every on-demand service instance as one component.

/// How the deployments of on-demand service instances are called: this, and the GUID of the
/// Cloud Controller's service instance.
pub(super) const PREFIX: &str = "service-instance_";
