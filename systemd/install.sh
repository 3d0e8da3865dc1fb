#!/usr/bin/env bash
# Installs LLM Orchestrator on one machine as a systemd service, upgrades it, and takes an upgrade back. Run it as root.
#
#   install.sh [--package WHAT] [--constraints FILE] [--config FILE] [--environment FILE]
#       installs, or upgrades what is installed. WHAT is what pip installs: a name with a version, a wheel, a folder;
#       airflow-llm-provider[server] unless it is given. The last two are copied to /etc/llm-orchestrator/config.yaml and
#       /etc/llm-orchestrator/environment, unless there is one. When it fails before the database is touched, nothing has changed.
#   install.sh --rollback
#       goes back to the version before the last upgrade, and to what the system knew then.
#
# /opt/llm-orchestrator-releases/…    an environment of Python for each version
# /opt/llm-orchestrator               a link to the one in use
# /etc/llm-orchestrator/config.yaml   the settings
# /etc/llm-orchestrator/environment   the variables in them, such as OPENAI_API_KEY=…; readable by root only
# /var/lib/llm-orchestrator           what the system knows, unless the settings name another home
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

# Becomes a program that has the variables of a file, read as systemd reads it: nothing in it is a command, and a $ is a $.
# The arguments are the file, then the program with its own.
become=$(cat <<'PYTHON'
import os, re, sys

def value(text):
    found = ""
    while quoted := re.match(r'"((?:\\.|[^"\\])*)"[ \t]*|\'([^\']*)\'[ \t]*', text, re.DOTALL):
        found += quoted[2] if quoted[1] is None else re.sub(r'\\(?:\n|(["\\`$]))', lambda at: at[1] or "", quoted[1])
        text = text[quoted.end():]
    return found + re.sub(r"\\(\n|.)", lambda at: at[1].strip("\n"), text.rstrip())

line = re.compile(
    r'^[ \t]*([A-Za-z_]\w*)[ \t]*=[ \t]*((?:"(?:\\.|[^"\\])*"[ \t]*|\'[^\']*\'[ \t]*)*(?:\\.|[^\\\n])*)', re.MULTILINE | re.DOTALL
)
with open(sys.argv[1], encoding="utf-8") as file:
    os.environ.update((name, value(text)) for name, text in line.findall(file.read()))
os.execvp(sys.argv[2], sys.argv[2:])
PYTHON
)
readonly become

# A program of a release as the service runs it: its user, its variables, its settings, and nothing of root's own environment.
as_service() (
    local release=$1 program=$2
    shift 2
    cd "$home" 2> /dev/null || cd /
    local folder=${home:-$(getent passwd "$user" | cut -d: -f6)}
    exec env --ignore-environment "PATH=$PATH" "HOME=$folder" ${home:+"AIRFLOW_HOME=$home"} "ORCHESTRATOR_CONFIG=$settings/config.yaml" \
        "$python" -c "$become" "$settings/environment" \
        runuser --user "$user" --preserve-environment -- "$release/bin/$program" "$@"
)
orchestrator() { as_service "$1" llm-orchestrator "${@:2}"; }

use() { ln --symbolic --force --no-dereference "$1" "$programs"; }

# Copies a file of settings, unless there is one that says something; what it has made goes again when nothing is installed.
settle() {
    local target=$1 given=$2
    if [[ -s $target ]]; then
        if [[ -n $given ]]; then say "$target stays as it is; $given is not copied"; fi
        return
    fi
    if [[ ! -e $target ]]; then made+=("$target"); fi
    install "${@:3}" "${given:-/dev/null}" "$target"
}

prepare_machine() {
    getent passwd "$user" > /dev/null ||
        useradd --system --user-group --home-dir /var/lib/llm-orchestrator --shell /usr/sbin/nologin "$user"
    install --directory --owner "$user" --group "$user" --mode 0750 "$backups"
    install --directory --mode 0755 "$settings"
    settle "$settings/environment" "$environment" --mode 0600
    settle "$settings/config.yaml" "$config" --group "$user" --mode 0640
    if [[ ! -s $settings/config.yaml ]]; then
        printf 'home: %s\n' "$(getent passwd "$user" | cut -d: -f6)" > "$settings/config.yaml"
    fi
}

# Renders the units of a release, and learns from them which folders the settings name; the first is the home.
read_settings() {
    local release=$1
    home="" units=$(mktemp --directory)
    chown "$user" "$units"
    orchestrator "$release" config check
    orchestrator "$release" config render systemd --output "$units" > /dev/null
    mapfile -t folders < <("$release/bin/python" -c '
import shlex, sys
words = next(line for line in open(sys.argv[1]) if line.startswith("ReadWritePaths=")).partition("=")[2]
print(*(word.replace("%%", "%") for word in shlex.split(words)), sep="\n")' "$units/llm-orchestrator.service")
    home=${folders[0]}
}

# The unit does not start when one of them is not there.
make_folders() {
    local folder
    for folder in "${folders[@]}"; do
        if [[ ! -d $folder ]]; then install --directory --owner "$user" --group "$user" --mode 0750 "$folder"; fi
    done
    runuser --user "$user" -- test -w "$home" ||
        fail "the home $home cannot be written by the user $user; chown it, or name another in $settings/config.yaml"
}

install_units() {
    install --mode 0644 "$units"/*.service /etc/systemd/system/
    install -D --mode 0644 "$units/tmpfiles.conf" /etc/tmpfiles.d/llm-orchestrator.conf
    if [[ -e $units/logrotate.conf ]]; then install -D --mode 0644 "$units/logrotate.conf" /etc/logrotate.d/llm-orchestrator; fi
    if has_systemd; then systemctl daemon-reload; fi
}

# Says, or does, what is to be done when the script ends too early.
ended() {
    local code=$? path
    rm -rf "$units"
    [[ $code -ne 0 ]] || return 0
    case $stage in
        preparing)
            rm -rf "$release" "${made[@]}"
            say "nothing was changed" >&2
            ;;
        first)
            rm -rf "$release" "${made[@]}"
            say "it is not installed; mend what is said above, and run this again" >&2
            ;;
        stopped)
            rm -rf "$release"
            service start
            say "nothing was changed; the version before runs on" >&2
            ;;
        migrating)
            if [[ $(readlink "$programs") != "$release" ]]; then rm -rf "$release"; fi
            say "it is stopped, and its database may be that of the new version already" >&2
            say "mend what is said above, and run this again; or go back: install.sh --rollback" >&2
            ;;
        moving)
            for path in "${moved[@]}"; do
                rm -rf "$path"
                mv "$path.$now" "$path"
            done
            use "$newer"
            say "nothing was taken back; start it again: systemctl start llm-orchestrator" >&2
            ;;
    esac
    exit "$code"
}

install_release() {
    [[ ! -e $programs || -L $programs ]] || fail "$programs is a folder that was not made by this script; move it away"
    "$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' ||
        fail "$python is not Python 3.10 to 3.13 with venv; name one: PYTHON=python3.12 install.sh"
    say "installing $package"
    install --directory --mode 0755 "$releases"
    release=$releases/$now stage=preparing
    "$python" -m venv "$release"
    "$release/bin/pip" install --quiet --disable-pip-version-check ${constraints:+--constraint "$constraints"} "$package" ||
        fail "pip could not install $package"
    prepare_machine
    read_settings "$release"
    make_folders
    if [[ -e $programs ]]; then
        service stop
        stage=stopped
        # What an upgrade has left half done is not what the version before knew.
        if [[ -e $home/passwords.json && ! -e $releases/unfinished ]]; then
            say "keeping what the system knows in $backups/$now.tar.gz"
            orchestrator "$programs" backup "$backups/$now.tar.gz"
            printf '%s\n' "$(readlink "$programs")" "$backups/$now.tar.gz" > "$releases/before"
        fi
        touch "$releases/unfinished"
        stage=migrating
    else
        stage=first
    fi
    orchestrator "$release" db migrate
    install_units
    use "$release"
    rm -f "$releases/unfinished"
    service enable --now
    say "installed: $("$programs/bin/llm-orchestrator" version)"
    has_systemd || say "no systemd runs this machine; start it by hand: llm-orchestrator server"
}

# What a backup holds: the home, and the workflow files and the database where they are elsewhere.
places() {
    as_service "$1" python -c '
import os, pathlib, urllib.parse
from airflow_llm_provider.config.reading import read_configuration
says = read_configuration(pathlib.Path(os.environ["ORCHESTRATOR_CONFIG"])).valid()
url = says.database.url.get_secret_value() if says.database.kind == "sqlite" and says.database.url else ""
database = urllib.parse.unquote(url.partition("///")[2].partition("?")[0])
others = [says.dags_folder, *(pathlib.Path(database + end) for end in ("", "-wal", "-shm", "-journal") if database)]
print(says.home, *(path for path in others if says.home not in path.parents), sep="\n")'
}

roll_back() {
    local backup path
    [[ -e $releases/before ]] || fail "there was no upgrade to take back"
    { read -r release; read -r backup; } < "$releases/before"
    newer=$(readlink "$programs")
    [[ -x $release/bin/llm-orchestrator && -r $backup ]] || fail "$release or $backup is not there any more; nothing was changed"
    if tar --extract --to-stdout --file "$backup" manifest.json | grep --quiet '"database": "postgresql"'; then
        say "PostgreSQL is not emptied by this script: make an empty database, name it in $settings, then go on"
        read -r -p "The database that it names is empty now [yes/no]: " answer || answer=no
        [[ $answer == yes ]] || fail "nothing was changed"
    fi
    read_settings "$release"
    mapfile -t held < <(places "$release")
    ! mountpoint --quiet "$home" || fail "$home is a file system of its own, and cannot be moved away; nothing was changed"
    service stop
    stage=moving
    for path in "${held[@]}"; do
        # One that is mounted is another's, as is a checkout of workflow files.
        if [[ -e $path ]] && ! mountpoint --quiet "$path"; then
            mv "$path" "$path.$now"
            moved+=("$path")
        fi
    done
    make_folders
    use "$release"
    orchestrator "$release" restore "$backup"
    install_units
    rm -f "$releases/before" "$releases/unfinished"
    stage=finished
    service start
    say "back to $("$programs/bin/llm-orchestrator" version); what the newer version knew is in $home.$now"
}

package="airflow-llm-provider[server]" constraints="" config="" environment="" rollback=""
stage=begun home="" units="" release="" newer="" made=() moved=() folders=() held=()
if [[ -e $source_folder/constraints.txt ]]; then constraints=$source_folder/constraints.txt; fi
while [[ $# -gt 0 ]]; do
    case $1 in
        --package) package=$2; shift 2 ;;
        --constraints) constraints=$2; shift 2 ;;
        --config) config=$2; shift 2 ;;
        --environment) environment=$2; shift 2 ;;
        --rollback) rollback=yes; shift ;;
        --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) fail "no option is called $1; see install.sh --help" ;;
    esac
done
[[ $EUID -eq 0 ]] || fail "it has to be run as root"
trap ended EXIT
if [[ -n $rollback ]]; then roll_back; else install_release; fi
