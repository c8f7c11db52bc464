#!/usr/bin/env bash
# MLflow's server with its tables in PostgreSQL, for the head of a cluster.
#
#   clusters/mlflow.sh start     start both unless they run; prints what MLFLOW_TRACKING_URI is to be
#   clusters/mlflow.sh run       the same, and stay: for a container of its own
#   clusters/mlflow.sh stop      end both
#
# Where MLFLOW_TRACKING_URI is set, that server is used and none is started.
# PostgreSQL listens on a socket in a private folder, on no port. MLflow listens for the workers,
# on every address: the cluster's firewall is what keeps others out; see clusters/README.md.
# Settings: FFTUNE_STORAGE (tables, artifacts and log go below it), FFTUNE_MLFLOW_HOST (what it
# listens on, 0.0.0.0), FFTUNE_MLFLOW_ADDRESS (where workers find it), FFTUNE_MLFLOW_PORT (5000),
# FFTUNE_MLFLOW_START_SECONDS (how long to wait for it; 120).
set -euo pipefail

storage=${FFTUNE_STORAGE:-$HOME/.local/share/fftune}
place=$storage/mlflow-server
tables=$place/postgres
port=${FFTUNE_MLFLOW_PORT:-5000}
# Postgres wants short paths for sockets, and a lock per machine.
run=${XDG_RUNTIME_DIR:-/tmp}/fftune-mlflow-$(id -u)-$port
# PostgreSQL refuses to be root; its package made a user for that.
as=()
[ "$(id -u)" -ne 0 ] || as=(setpriv --reuid postgres --regid postgres --init-groups --)

die() { echo "mlflow.sh: $*" >&2; exit 2; }
alive() { # whether the server runs: another process may have got its number since
    [ -s "$run/pid" ] || return 1
    local command
    command=$( (tr '\0' ' ' < "/proc/$(cat "$run/pid")/cmdline") 2>/dev/null) || return 1
    [[ $command == *"mlflow server "*"?host=$run "* ]]
}
ours() { # whether a folder is one, and its owner this user, or PostgreSQL's whom root becomes
    [ -d "$1" ] && [ ! -L "$1" ] || return 1
    local owner
    owner=$(stat -c %u "$1")
    [ "$owner" -eq "$(id -u)" ] || { [ ${#as[@]} -gt 0 ] && [ "$owner" = "$(id -u postgres)" ]; }
}
private() { # makes a folder; one that somebody else has prepared would be theirs to look into
    mkdir -m 700 "$1" 2>/dev/null || true
    ours "$1" || die "'$1' is not a folder of yours; remove it, or ask whoever made it"
    chmod 700 "$1"
}
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
address() { hostname -I | cut -d ' ' -f 1; }

postgres() { # a program of the newest PostgreSQL that Debian's packages have installed, or of PATH's
    local newest
    newest=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 2>/dev/null | sort -V | tail -n 1)
    PATH=${newest:+$newest/bin:}$PATH command -v "$1" > /dev/null || die "no PostgreSQL; install the package 'postgresql'"
    PATH=${newest:+$newest/bin:}$PATH "${as[@]}" "$@"
}

database() {
    mkdir -p "$storage"
    umask 077
    private "$run"
    private "$place"
    [ ${#as[@]} -eq 0 ] || chown postgres "$run" "$place"
    # No password: nobody but this user gets at a socket in a folder of mode 700.
    [ -s "$tables/PG_VERSION" ] || postgres initdb -D "$tables" -U mlflow --auth=trust \
        --encoding=UTF8 --locale=C > "$place/initdb.log"
    postgres pg_ctl -D "$tables" status > /dev/null 2>&1 ||
        postgres pg_ctl -D "$tables" -w -l "$place/postgres.log" \
            -o "-c listen_addresses='' -c unix_socket_directories=$run" start > /dev/null
    postgres psql -h "$run" -U mlflow -d postgres -tAc "select 1 from pg_database where datname = 'mlflow'" |
        grep -q 1 || postgres createdb -h "$run" -U mlflow mlflow
}

server() {
    export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
    exec mlflow server --host "${FFTUNE_MLFLOW_HOST:-0.0.0.0}" --port "$port" --workers 1 \
        --backend-store-uri "postgresql://mlflow@/mlflow?host=$run" \
        --artifacts-destination "$place/artifacts"
}

start() {
    if [ -n "${MLFLOW_TRACKING_URI:-}" ]; then
        echo "$MLFLOW_TRACKING_URI"
        return
    fi
    if ! { ours "$run" && alive; }; then
        answers && die "port $port is in use; choose another with FFTUNE_MLFLOW_PORT"
        command -v mlflow > /dev/null || die "no mlflow on PATH; run clusters/setup.sh first"
        database
        (server) > "$place/server.log" 2>&1 < /dev/null &
        local server=$!  # which is not `mlflow` yet
        echo "$server" > "$run/pid"
        for _ in $(seq "${FFTUNE_MLFLOW_START_SECONDS:-120}"); do
            kill -0 "$server" 2>/dev/null || die "the server ended; see $place/server.log"
            answers && break
            sleep 1
        done
        answers || die "the server does not answer on port $port; see $place/server.log"
    fi
    echo "http://${FFTUNE_MLFLOW_ADDRESS:-$(address)}:$port"
}

stop() {
    if [ -e "$run" ] || [ -L "$run" ]; then
        ours "$run" || die "'$run' is not a folder of yours; nothing was stopped"
    fi
    if alive; then
        pid=$(cat "$run/pid")
        kill -TERM "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
    fi
    [ ! -s "$tables/postmaster.pid" ] || postgres pg_ctl -D "$tables" -w -m fast stop > /dev/null
    rm -rf "$run"
}

case ${1:-} in
    start) start ;;
    run) database; server ;;
    stop) stop ;;
    *) die "usage: clusters/mlflow.sh start|run|stop" ;;
esac
