//! What a failure of each step or stage means for the real disaster, and what to do about it.

/// Stages that are no steps of a restore.
pub(super) const DIRECTOR: &str = "deployments";
pub(super) const INSTANCES: &str = "instances";
pub(super) const INVENTORY: &str = "inventory";
pub(super) const CHECK: &str = "check-";
/// All checks, where none could be asked.
pub(super) const CHECKS: &str = "checks";

/// Two sentences for people. `docs/drill.md` says more.
pub(super) fn of(step: &str) -> &'static str {
    match step {
        "ops-manager" => {
            "without this import there is no foundation: settings and credentials are in no other place. Look at the decryption passphrase, the version of Ops Manager and `lifeboat verify`, and keep the newest backup that a drill has passed"
        }
        "bosh-state" => {
            "the director would be deployed over the original's VM. Look at the SSH key of the Ops Manager VM, which a restore needs and no backup holds"
        }
        "apply-director" => {
            "no director, so nothing can be deployed. Look at the IaaS account: quota, networks, images, permissions, certificates that have ended; in the disaster they are needed at once"
        }
        "director" => {
            "without the director's data every deployment would have to be made anew, and its CredHub is lost. Look at the script that failed, run `lifeboat verify`, and drill an older backup to see since when"
        }
        "references" => {
            "the restored director could act upon the original's VMs, or cannot forget them. Do not go on by hand; separate the networks and the IaaS accounts"
        }
        "stemcells" => {
            "nothing can be deployed without the recorded stemcells, which no backup holds. Put them into the mirror before the disaster"
        }
        "scale-down" | "scale-up" => {
            "TAS' databases cannot be restored into more than one MySQL, or would stay with one. Look at Ops Manager's resource config for TAS"
        }
        "apply-tas" => {
            "TAS does not come up, so neither do the apps. Look at the log of Apply Changes: quota, releases in the director's blobstore, certificates"
        }
        "tas" => {
            "apps, routes and users are lost as far as they are not in another backup. Look at the script that failed, run `lifeboat verify`, and drill an older backup to see since when"
        }
        "recreate-instances" => {
            "on-demand service instances do not come back, and apps that are bound to them fail. Look at the broker's errand"
        }
        "service-instances" => {
            "service instances come back empty. Look at the instance and script that failed"
        }
        DIRECTOR => {
            "the restored director does not know what the original's did, so some deployments cannot be made again. Take a new backup and drill that"
        }
        INSTANCES => {
            "the foundation comes back with less than it had. Look at the instance; what it lacks in the drill it lacks in the disaster"
        }
        INVENTORY => {
            "the foundation comes back, but not with everything that it had, or with things that had been deleted. Look at what differs (`lifeboat inventory diff` with the backup's id and `now`); what a restore loses must be made anew by hand (`lifeboat inventory plan`)"
        }
        CHECKS => {
            "Ops Manager did not say what the checks need, so none was asked, and nobody knows whether the foundation serves its users. Look at Ops Manager, then run the same command again"
        }
        step if step.starts_with(CHECK) => {
            "the foundation comes back, but what its users need of it does not work. Compare with the original, which must give this answer too; then find out whether the backup lacks it or the restore"
        }
        _ => "the drill proves nothing until this is mended; mend it and run the drill again",
    }
}
