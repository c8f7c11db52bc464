#!/usr/bin/env bash
# A real Ray head on this machine, which nobody else can reach: loopback only, with a token, and
# with its files in a folder of mode 700.
#
#   eval "$(clusters/local.sh start)"     start it; the output tells `ray job` where it is
#   ray job submit --working-dir . -- python -m fftune.sweep thrm --scale tiny
#   clusters/local.sh stop                end it, and nothing but it
#
# Settings: FFTUNE_CLUSTER_DIR (token, pid, log), FFTUNE_STORAGE (results), FFTUNE_RAY_PORT,
# FFTUNE_RAY_DASHBOARD_PORT, FFTUNE_RAY_CLIENT_PORT, FFTUNE_RAY_AGENT_PORT (the first of four),
# FFTUNE_RAY_WORKER_PORTS (first), FFTUNE_RAY_CPUS, FFTUNE_RAY_START_SECONDS (how long to wait for it; 600).
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
venv=${FFTUNE_VENV:-$here/.venv}
state=${FFTUNE_CLUSTER_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/fftune/cluster}
port=${FFTUNE_RAY_PORT:-6391}
dashboard=${FFTUNE_RAY_DASHBOARD_PORT:-8291}
client=${FFTUNE_RAY_CLIENT_PORT:-10081}
agent=${FFTUNE_RAY_AGENT_PORT:-10391}
workers=${FFTUNE_RAY_WORKER_PORTS:-21000}

die() { echo "local.sh: $*" >&2; exit 2; }
alive() { # whether the head runs: another process may have got its number since
    [ -s "$state/pid" ] && [ -s "$state/temp" ] || return 1
    local command
    command=$( (tr '\0' ' ' < "/proc/$(cat "$state/pid")/cmdline") 2>/dev/null) || return 1
    [[ $command == *" start --head "*" --temp-dir $(cat "$state/temp") "* ]]
}
refused() { [ "$(cat "$1" 2>/dev/null)" = -1 ]; } # an agent without a port, which stays alive
first_taken() { # of some ports; a connection of this machine's may have one where nobody listens
    "$venv/bin/python" - "$@" <<'PYTHON'
import socket, sys

for port in sys.argv[1:]:
    try:
        socket.create_server(("127.0.0.1", int(port))).close()
    except OSError:
        sys.exit(print(port, "is in use"))
    except OverflowError:
        sys.exit(print(port, "is none"))
PYTHON
}
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

settings() {
    printf 'export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=%q\n' "$state/token"
    printf 'export RAY_API_SERVER_ADDRESS=http://127.0.0.1:%s\n' "$dashboard"
    printf 'export PATH=%q:$PATH\n' "$venv/bin"
}

# Ray's raylet ends if its agents do not tell their ports within 15 seconds, which a busy machine
# needs to start them: they are told for them.
tell_ports() {
    until [ -d "$1/sockets" ]; do kill -0 "$3" 2>/dev/null || return 0; sleep 0.1; done
    echo -n "$agent" > "$1/dashboard_agent_listen_port_$2"
    echo -n $((agent + 1)) > "$1/metrics_agent_port_$2"
    echo -n $((agent + 2)) > "$1/metrics_export_port_$2"
    echo -n $((agent + 3)) > "$1/runtime_env_agent_port_$2"
}

start() {
    [ -x "$venv/bin/ray" ] || die "no ray in $venv; run make setup first"
    alive && die "already running (pid $(cat "$state/pid")); stop it first"
    local p taken
    for p in "$port" "$dashboard" "$client" "$agent" "$workers"; do
        [[ $p =~ ^[1-9][0-9]*$ ]] || die "port $p is none; choose another (see the head of this file)"
    done
    taken=$(first_taken "$port" "$dashboard" "$client" "$agent" $((agent + 1)) $((agent + 2)) $((agent + 3)))
    [ -z "$taken" ] || die "port $taken; choose another (see the head of this file)"
    umask 077
    mkdir -p "$state"
    # Sockets live below the temporary folder, and their paths must be short.
    local above=${TMPDIR:-/tmp}
    [ ${#above} -le 15 ] || above=/tmp
    # Ray opens its own folder to every user: whoever may write there runs code as this one. Its
    # parent is what keeps others out.
    temp=$(mktemp -d "$above/fftune-ray.XXXXXX")/ray
    echo "$temp" > "$state/temp"
    "$here/clusters/token.sh" "$state/token"
    export FFTUNE_STORAGE=${FFTUNE_STORAGE:-$HOME/.local/share/fftune}
    mkdir -p "$FFTUNE_STORAGE"
    local node
    node=$(od -An -N28 -tx1 /dev/urandom | tr -d ' \n')
    # Jobs find `python` on the head's PATH.
    PATH="$venv/bin:$PATH" RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$state/token" \
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 RAY_DEDUP_LOGS=0 RAY_OVERRIDE_NODE_ID_FOR_TESTING="$node" \
        setsid "$venv/bin/ray" start --head --block --port "$port" \
        --dashboard-host 127.0.0.1 --dashboard-port "$dashboard" --ray-client-server-port "$client" \
        --min-worker-port "$workers" --max-worker-port $((workers + 999)) \
        --dashboard-agent-listen-port "$agent" --dashboard-agent-grpc-port $((agent + 1)) \
        --metrics-export-port $((agent + 2)) --runtime-env-agent-port $((agent + 3)) \
        --num-cpus "${FFTUNE_RAY_CPUS:-$(env -u OMP_NUM_THREADS nproc)}" --temp-dir "$temp" --disable-usage-stats \
        > "$state/log" 2>&1 < /dev/null &
    local head=$!  # which is not `ray` yet
    echo "$head" > "$state/pid"
    tell_ports "$temp/session_latest" "$node" "$head" > /dev/null 2>&1 < /dev/null &
    # A head that cannot start ends; one that is slow, as on a busy machine, is waited for.
    for _ in $(seq "${FFTUNE_RAY_START_SECONDS:-600}"); do
        kill -0 "$head" 2>/dev/null || die "the head ended: $(tail -n 1 "$state/log")"
        # The dashboard answers before the agent that starts jobs does.
        answers "$dashboard" && answers "$agent" && { settings; return; }
        refused "$temp/session_latest/dashboard_agent_listen_port_$node" && {
            stop
            die "port $agent was taken while the head started; start it again, or choose another (see the head of this file)"
        }
        sleep 1
    done
    stop
    die "the dashboard did not answer on port $dashboard; see $state/log"
}

stop() {
    alive || { echo "local.sh: not running" >&2; return; }
    pid=$(cat "$state/pid")
    kill -TERM "$pid"
    for _ in $(seq 30); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 1
    done
    # The head leads a process group of its own: whatever is left in it is ours.
    kill -KILL -- "-$pid" 2>/dev/null || true
    temp=$(cat "$state/temp")
    rm -rf "${temp%/ray}" "$state/pid" "$state/temp"
}

case ${1:-} in
    start) start ;;
    stop) stop ;;
    settings) settings ;;
    *) die "usage: clusters/local.sh start|stop|settings" ;;
esac
