//! Instances, their scripts, and what these say.

use serde_json::{Value, json};

use super::table::Table;

fn ask(table: &Table, request: Value) {
    table.scene.foundation.ask(request);
}

fn script(name: &str, value: Value) -> Value {
    json!({"do": "set-script", "instance": "g/u0", "job": "j", "script": name, "value": value})
}

#[test]
fn an_instance_that_cannot_be_used() {
    let mut table = Table::new(&json!({"fixture": "S1"}));
    ask(
        &table,
        json!({"do": "run", "instance": "g/u0", "script":
        "mv /etc/sudoers /etc/sudoers.kept; mkdir -p /etc/kept; mv /etc/sudoers.d/* /etc/kept/; echo 'ALL ALL=(ALL) ALL' > /etc/sudoers; chmod 440 /etc/sudoers"}),
    );
    table.put("sudo asks for a password", &json!({}), "deployment/dep: discovery: the search for BBR scripts could not be finished: g/u0: user `…` may not run `search for scripts` through sudo (sudo: a password is required); give it `NOPASSWD: ALL` in sudoers. State: nothing was locked and nothing was stored");
    ask(
        &table,
        json!({"do": "run", "instance": "g/u0", "script":
        "mv -f /etc/sudoers.kept /etc/sudoers; mv /etc/kept/* /etc/sudoers.d/; rmdir /etc/kept"}),
    );
    ask(
        &table,
        json!({"do": "set-vm", "instance": "g/u0", "ssh": {"host_public_key":
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"}}),
    );
    table.put("another host key than the Director says", &json!({}), "deployment/dep: g/u0: the host key of … is ssh-ed25519 …, expected was ssh-ed25519 …; nothing was run there; if the VM was recreated give its new key, else find out who answers at this address. State: nothing was locked and nothing was stored");
    ask(
        &table,
        json!({"do": "set-vm", "instance": "g/u0", "ssh": {}}),
    );
    ask(
        &table,
        json!({"do": "command-fault", "instance": "g/u0", "kind": "status", "pattern": "sudo", "status": 127, "stderr": "sudo: command not found"}),
    );
    table.put("no sudo", &json!({}), "deployment/dep: discovery: the search for BBR scripts could not be finished: g/u0: cannot run `search for scripts`: the login shell ended with exit status 127 without running the command to its end (sudo: command not found); check that the user has a POSIX shell and that the VM has memory and processes left. State: nothing was locked and nothing was stored");
    ask(
        &table,
        json!({"do": "clear-command-faults", "instance": "g/u0"}),
    );
    ask(
        &table,
        json!({"do": "set-vm", "instance": "g/u0", "unresponsive_agent": true}),
    );
    table.put("an agent that does not answer", &json!({}), "deployment/dep: task … of the BOSH Director (SSH access to `g` of `dep`) ended as error: Timed out sending 'ssh' to instance: 'g/u0', agent-id: 'agent-u0' after … seconds; see `bosh task … --debug`. State: nothing was locked and nothing was stored");
    ask(
        &table,
        json!({"do": "set-vm", "instance": "g/u0", "unresponsive_agent": false}),
    );
    ask(
        &table,
        json!({"do": "sshd", "instance": "g/u0", "action": "stop"}),
    );
    table.put("no SSH server", &json!({}), "deployment/dep: g/u0: cannot connect to …: connection refused; check that the VM is up and that the service listens on this port. State: nothing was locked and nothing was stored");
    ask(
        &table,
        json!({"do": "power", "instance": "g/u0", "on": false}),
    );
    table.put("the machine is down", &json!({}), "deployment/dep: task … of the BOSH Director (SSH access to `g` of `dep`) ended as error: instance g/u0 is off; see `bosh task … --debug`. State: nothing was locked and nothing was stored");
    table.end(6);
}

#[test]
fn a_deployment_without_anything_to_back_up() {
    let mut table = Table::new(&json!({"fixture": "S1"}));
    ask(&table, script("backup", Value::Null));
    table.put("no scripts", &json!({}), "deployment/dep: pre-backup check: dep cannot be backed up: no instance has a job with a backup script; check that it is the right one, and that its jobs have their backup enabled. State: nothing was locked and nothing was stored");
    table.end(1);
}

#[test]
fn scripts_that_say_garbage() {
    let mut table = Table::new(&json!({"fixture": "S1"}));
    for (metadata, sentence) in [
        (
            json!({"raw": "#!/bin/sh\necho '{: ['\n"}),
            "deployment/dep: discovery: metadata of job j on g/u0: its output is not as the contract wants it (unclosed bracket '[' at line 1, column 4); mend the job's metadata script. State: nothing was locked and nothing was stored",
        ),
        (
            json!({"raw": "#!/bin/sh\necho '- a'\n"}),
            "deployment/dep: discovery: metadata of job j on g/u0: its output is not as the contract wants it (expected mapping start at line 1, column 1); mend the job's metadata script. State: nothing was locked and nothing was stored",
        ),
        (
            json!({"raw": "#!/bin/sh\necho 'restore_should_be_locked_before: x'\n"}),
            "deployment/dep: discovery: metadata of job j on g/u0: its output is not as the contract wants it (expected sequence start at line 1, column 34); mend the job's metadata script. State: nothing was locked and nothing was stored",
        ),
        (
            json!({"raw": "#!/bin/sh\necho 'backup_should_be_locked_before: [{job_name: j, release: r}]'\n"}),
            "deployment/dep: pre-backup check: these jobs are to be locked before each other: j on g/u0; mend the lists *_should_be_locked_before of their metadata scripts. State: nothing was locked and nothing was stored",
        ),
        (
            json!({"raw": "#!/bin/sh\necho cannot read the spec >&2; exit 3\n"}),
            "deployment/dep: discovery: metadata of job j on g/u0 failed with exit code 3: cannot read the spec. State: nothing was locked and nothing was stored",
        ),
        (
            json!({"raw": "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' a\n"}),
            "deployment/dep: discovery: metadata of job j on g/u0: its output is not as the contract wants it (expected mapping start at line 1, column 1); mend the job's metadata script. State: nothing was locked and nothing was stored",
        ),
    ] {
        ask(&table, script("metadata", metadata.clone()));
        table.put(&format!("{metadata}"), &json!({}), sentence);
    }
    ask(&table, script("metadata", Value::Null));
    ask(
        &table,
        json!({"do": "run", "instance": "g/u0", "script": "mkdir -p /var/vcap/store/bbr-backup/j"}),
    );
    let ended = table.scene.put(&json!({"backup": ["deployment/dep"]}));
    table.refused("an artifact directory of another run", &ended, "deployment/dep: pre-backup check: /var/vcap/store/bbr-backup exists on g/u0: if no other backup is running, run the cleanup of this component. State: nothing was locked and nothing was stored");
    ask(
        &table,
        json!({"do": "run", "instance": "g/u0", "script": "rm -rf /var/vcap/store/bbr-backup"}),
    );
    ask(
        &table,
        json!({"do": "run", "instance": "g/u0", "script": "mount --bind /dev/null /usr/bin/sha256sum; mount --bind /dev/null /usr/bin/shasum; mount --bind /dev/null /usr/bin/openssl"}),
    );
    table.put("no sha256sum", &json!({}), "deployment/dep: pre-backup check: g/u0 lacks sha256sum, which a backup needs there; install what is missing on the stemcell. State: nothing was locked and nothing was stored");
    ask(
        &table,
        json!({"do": "run", "instance": "g/u0", "script": "umount /usr/bin/sha256sum /usr/bin/shasum /usr/bin/openssl"}),
    );
    table.end(8);
}

#[test]
fn scripts_that_fail() {
    let mut table = Table::new(&json!({"fixture": "S1"}));
    let backup = json!({"files": {"a": "A"}});
    let cases = [
        (
            "pre-backup-lock",
            json!({"stderr": "cannot lock\nthe database", "exit": 4}),
            "deployment/dep: lock: pre-backup-lock of job j on g/u0 failed with exit code 4: cannot lock the database. State: no backup was committed; every instance is unlocked. To mend it: if anything was left behind, lifeboat cleanup deployment/dep",
        ),
        (
            "backup",
            json!({"body": "for at in $(seq 20000); do echo \"line $at of a long complaint\" >&2; done; exit 9"}),
            "deployment/dep: backup: backup of job j on g/u0 failed with exit code 9: … of a long complaint. State: no backup was committed; every instance is unlocked. To mend it: if anything was left behind, lifeboat cleanup deployment/dep",
        ),
        (
            "backup",
            json!({"body": "exit 1"}),
            "deployment/dep: backup: backup of job j on g/u0 failed with exit code 1; it said nothing, so look in /var/vcap/sys/log/j there. State: no backup was committed; every instance is unlocked. To mend it: if anything was left behind, lifeboat cleanup deployment/dep",
        ),
        (
            "backup",
            json!({"body": "kill -9 $$"}),
            "deployment/dep: backup: backup of job j on g/u0 was ended by signal 9 (exit code 137): Killed. State: no backup was committed; every instance is unlocked. To mend it: if anything was left behind, lifeboat cleanup deployment/dep",
        ),
        (
            "backup",
            json!({"raw": "#!/no/such/interpreter\n"}),
            "deployment/dep: backup: backup of job j on g/u0 failed with exit code 127: env: '/var/vcap/jobs/j/bin/bbr/backup': No such file or directory. State: no backup was committed; every instance is unlocked. To mend it: if anything was left behind, lifeboat cleanup deployment/dep",
        ),
        (
            "backup",
            json!({"raw": "#!/bin/sh\nexit 0\n", "mode": "0644"}),
            "deployment/dep: backup: backup of job j on g/u0 failed with exit code 126 (the file is not executable): env: '/var/vcap/jobs/j/bin/bbr/backup': Permission denied. State: no backup was committed; every instance is unlocked. To mend it: if anything was left behind, lifeboat cleanup deployment/dep",
        ),
    ];
    for (name, value, sentence) in cases {
        ask(&table, script("backup", backup.clone()));
        ask(&table, script(name, value.clone()));
        table.put(&format!("{name} {value}"), &json!({}), sentence);
        ask(&table, script(name, Value::Null));
    }
    ask(&table, script("backup", backup));
    ask(
        &table,
        script(
            "post-backup-unlock",
            json!({"stderr": "still locked", "exit": 1}),
        ),
    );
    let ended = table.scene.put(&json!({"backup": ["deployment/dep"]}));
    table.refused("an unlock that fails", &ended, "deployment/dep: unlock: post-backup-unlock of job j on g/u0 failed with exit code 1: still locked; the job may still be locked: mend the cause, then run the cleanup. State: backup … is committed and complete in nas, but the foundation is not clean. Jobs may still be locked on g/u0. To mend it: lifeboat cleanup deployment/dep");
    // What was backed up is whole, and the cleanup does what the sentence says.
    table.expect_listed(table.scene.check());
    ask(&table, script("post-backup-unlock", Value::Null));
    table
        .scene
        .put(&json!({"cleanup": ["deployment/dep"]}))
        .ok();
    table.clean("an unlock that fails, cleaned up");
    table.end(7);
}
