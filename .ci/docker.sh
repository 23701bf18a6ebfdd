# Sourced by run: makes sure that docker answers, where this machine can have it. Sets
# IRONCLAW_TEST_CONTAINERS=1, or says why not; `stop_docker` ends what it started.
docker_home=""

start_docker() {
  if ! command -v docker >/dev/null || ! docker info >/dev/null 2>&1; then
    own_docker || { echo "ci: $docker_reason; the container tests are skipped"; return 0; }
  fi
  export IRONCLAW_TEST_CONTAINERS=1
}

# A daemon of our own, with its data in a folder of its own.
own_docker() {
  docker_reason="docker does not run, and only root can start it"
  [ "$(id -u)" = 0 ] || return 1
  docker_reason="docker cannot be installed here"
  if ! command -v dockerd >/dev/null; then
    command -v apt-get >/dev/null || return 1
    echo "ci: installing docker.io for the container tests"
    # The package would start a daemon by itself where there is an init; ours is the only one.
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
      --no-install-recommends docker.io; } >/dev/null 2>&1 || return 1
    # Where the package has started one, that one will do.
    docker info >/dev/null 2>&1 && return 0
  fi
  docker_home=$(mktemp -d)
  export DOCKER_HOST="unix://$docker_home/docker.sock"
  # The second way is for machines whose kernel or disk cannot do what the first one wants.
  try_dockerd && return 0
  try_dockerd --storage-driver=vfs --iptables=false --ip6tables=false && return 0
  docker_reason="dockerd does not start: $(grep -vi 'level=\(info\|warning\)' "$docker_home/log" | tail -n 1)"
  stop_docker
  unset DOCKER_HOST
  return 1
}

try_dockerd() {
  dockerd --host "$DOCKER_HOST" --data-root "$docker_home/data" --exec-root "$docker_home/exec" \
    --pidfile "$docker_home/pid" "$@" >"$docker_home/log" 2>&1 &
  local daemon=$!
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && return 0
    kill -0 "$daemon" 2>/dev/null || return 1
    sleep 0.5
  done
  kill "$daemon" 2>/dev/null
  wait "$daemon" 2>/dev/null
  return 1
}

stop_docker() {
  [ -n "$docker_home" ] || return 0
  if [ -f "$docker_home/pid" ]; then
    local daemon
    daemon=$(cat "$docker_home/pid")
    kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
  fi
  rm -rf "$docker_home"
  docker_home=""
}
