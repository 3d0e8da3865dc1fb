#!/usr/bin/env bash
# Installs LLM Orchestrator on one machine as a systemd service, upgrades it, and takes an upgrade back. Run it as root.
#
#   install.sh [--package WHAT] [--constraints FILE] [--config FILE]
#       installs, or upgrades what is installed. WHAT is what pip installs: a name with a version, a wheel, a folder;
#       airflow-llm-provider[server] unless it is given. FILE is copied to /etc/llm-orchestrator/config.yaml, unless one is there.
#   install.sh --rollback
#       goes back to the version before the last upgrade, and to what the system knew then.
#
# /opt/llm-orchestrator-releases/…    an environment of Python for each version
# /opt/llm-orchestrator               a link to the one in use
# /etc/llm-orchestrator/config.yaml   the settings
# /etc/llm-orchestrator/environment   the variables in them, such as OPENAI_API_KEY=…; readable by root only
# /var/lib/llm-orchestrator           what the system knows
# /var/backups/llm-orchestrator       a backup before each upgrade
set -euo pipefail

readonly user=orchestrator
readonly programs=/opt/llm-orchestrator releases=/opt/llm-orchestrator-releases
readonly settings=/etc/llm-orchestrator backups=/var/backups/llm-orchestrator
readonly python=${PYTHON:-python3}
source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
now=$(date +%Y%m%d-%H%M%S)
readonly source_folder now

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# Whether systemd runs this machine; a container has none.
has_systemd() { [[ -d /run/systemd/system ]]; }
service() { if has_systemd; then systemctl "$@" llm-orchestrator.service; fi; }

# llm-orchestrator as the service runs it: its user, its variables, its settings.
orchestrator() (
    set -a
    # shellcheck source=/dev/null
    if [[ -e $settings/environment ]]; then . "$settings/environment"; fi
    HOME=$(home)
    export ORCHESTRATOR_CONFIG=$settings/config.yaml
    cd "$HOME"
    runuser --user "$user" --preserve-environment -- "$programs/bin/llm-orchestrator" "$@"
)

home() { getent passwd "$user" | cut -d: -f6; }

use() { ln --symbolic --force --no-dereference "$1" "$programs"; }

prepare_machine() {
    getent passwd "$user" > /dev/null ||
        useradd --system --user-group --home-dir /var/lib/llm-orchestrator --shell /usr/sbin/nologin "$user"
    install --directory --owner "$user" --group "$user" --mode 0750 "$(home)" "$(home)/dags" "$backups"
    install --directory --mode 0755 "$settings"
    if [[ ! -e $settings/config.yaml ]]; then
        if [[ -n $config ]]; then
            install --group "$user" --mode 0640 "$config" "$settings/config.yaml"
        else
            printf 'home: %s\n' "$(home)" > "$settings/config.yaml"
        fi
    fi
    if [[ ! -e $settings/environment ]]; then install --mode 0600 /dev/null "$settings/environment"; fi
}

install_release() {
    local release=$releases/$now
    [[ ! -e $programs || -L $programs ]] || fail "$programs is a folder that was not made by this script; move it away"
    "$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' ||
        fail "$python is not Python 3.10 to 3.13 with venv; name one: PYTHON=python3.12 install.sh"
    say "installing $package"
    install --directory --mode 0755 "$releases"
    "$python" -m venv "$release"
    if ! "$release/bin/pip" install --quiet --disable-pip-version-check ${constraints:+--constraint "$constraints"} "$package"; then
        rm -rf "$release"
        fail "pip could not install $package; nothing was changed"
    fi
    prepare_machine
    if [[ -e $programs ]]; then
        say "keeping what the system knows in $backups/$now.tar.gz"
        orchestrator backup "$backups/$now.tar.gz"
        printf '%s\n' "$(readlink "$programs")" "$backups/$now.tar.gz" > "$releases/before"
        service stop
    fi
    use "$release"
    orchestrator config check
    orchestrator db migrate
    render_units
    service enable --now
    say "installed: $("$programs/bin/llm-orchestrator" version)"
    has_systemd || say "no systemd runs this machine; start it by hand: llm-orchestrator server"
}

render_units() {
    local units
    units=$(mktemp -d)
    "$programs/bin/llm-orchestrator" config render systemd --config "$settings/config.yaml" --output "$units" > /dev/null
    install --mode 0644 "$units"/*.service /etc/systemd/system/
    install -D --mode 0644 "$units/tmpfiles.conf" /etc/tmpfiles.d/llm-orchestrator.conf
    if [[ -e $units/logrotate.conf ]]; then install -D --mode 0644 "$units/logrotate.conf" /etc/logrotate.d/llm-orchestrator; fi
    rm -rf "$units"
    if has_systemd; then systemctl daemon-reload; fi
}

roll_back() {
    local release backup
    [[ -e $releases/before ]] || fail "there was no upgrade to take back"
    { read -r release; read -r backup; } < "$releases/before"
    if tar --extract --to-stdout --file "$backup" manifest.json | grep --quiet '"database": "postgresql"'; then
        say "PostgreSQL is not emptied by this script: make an empty database, name it in $settings, then go on"
        read -r -p "The database that it names is empty now [yes/no]: " answer
        [[ $answer == yes ]] || fail "nothing was changed"
    fi
    service stop
    mv "$(home)" "$(home).$now"
    prepare_machine
    use "$release"
    orchestrator restore "$backup"
    render_units
    rm "$releases/before"
    service start
    say "back to $("$programs/bin/llm-orchestrator" version); what the newer version knew is in $(home).$now"
}

package="airflow-llm-provider[server]" constraints="" config="" rollback=""
if [[ -e $source_folder/constraints.txt ]]; then constraints=$source_folder/constraints.txt; fi
while [[ $# -gt 0 ]]; do
    case $1 in
        --package) package=$2; shift 2 ;;
        --constraints) constraints=$2; shift 2 ;;
        --config) config=$2; shift 2 ;;
        --rollback) rollback=yes; shift ;;
        --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) fail "no option is called $1; see install.sh --help" ;;
    esac
done
[[ $EUID -eq 0 ]] || fail "it has to be run as root"
if [[ -n $rollback ]]; then roll_back; else install_release; fi
