//! What bash completes behind `dokku pgbackup:`, asked of a bash that has sourced completion/pgbackup.bash.

use std::path::Path;
use std::process::Command;

use crate::bench::{Service, dokku_command, world};

/// What there is to choose from when `line` is typed and the tabulator pressed.
fn completed(line: &str) -> Vec<String> {
    let script = "
        _dokku_complete() { COMPREPLY=(dokkus-own); }
        source \"$1\"
        COMP_LINE=\"$2\" COMP_POINT=${#2}
        [[ $(complete -p dokku) == 'complete -F _dokku_pgbackup dokku' ]] || exit 9
        _dokku_pgbackup
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("bash")
        .args(["-c", script, "-"])
        .arg(root.join("completion/pgbackup.bash"))
        .arg(line)
        .env("DOKKU_STANDIN_ROOT", world())
        .env("PATH", path_with_dokku())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .filter(|word| !word.is_empty())
        .collect()
}

fn path_with_dokku() -> String {
    let folder = Path::new(dokku_command(&[]).get_program()).parent().unwrap().to_owned();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

#[test]
fn commands_services_and_backups_are_completed() {
    let service = Service::new("tab");
    let id = service.create();
    let name = &service.name;
    assert_eq!(completed("dokku pgbackup:ver"), ["verify"], "bash replaces what is behind the colon");
    assert_eq!(
        completed("dokku pgbackup"),
        completed("dokku pgbackup:").iter().map(|word| format!("pgbackup:{word}")).collect::<Vec<_>>()
    );
    assert_eq!(completed(&format!("dokku pgbackup:restore {name}")), [name.as_str()]);
    assert!(completed("dokku pgbackup:list ").contains(name));
    assert_eq!(completed(&format!("dokku pgbackup:info {name} ")), [id.as_str()]);
    assert_eq!(completed(&format!("dokku pgbackup:verify {name} --level ")), ["quick", "archive", "drill"]);
    assert_eq!(completed(&format!("dokku pgbackup:create {name} --n")), ["--note"]);
    assert!(completed("dokku pgbackup:info no-such-service ").is_empty());
    assert_eq!(completed("dokku apps:li"), ["dokkus-own"], "the rest is dokku's");
}
