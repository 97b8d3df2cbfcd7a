#!/usr/bin/env bash
# Starts the demo origin and an edge in front of it, says what to try, and ends both together.
set -euo pipefail
cd "$(dirname "$0")/.."

edge_port=8080
origin_port=9000

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for port in "$edge_port" "$origin_port"; do
  if taken "$port"; then
    echo "port $port on 127.0.0.1 is taken: end what listens there (ss -ltnp 'sport = :$port'), then try again" >&2
    exit 3
  fi
done

# The dev profile is optimised, and its artefacts are those of the tests.
cargo build --locked --bin interdict --example demo_origin
built="${CARGO_TARGET_DIR:-target}/debug"
mkdir -p run

pids=()
finish() {
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$built/examples/demo_origin" "127.0.0.1:$origin_port" &
pids+=($!)

# The edge says `ready` on standard output when it listens; its log goes to standard error, as always.
rm -f run/says
mkfifo run/says
"$built/interdict" run --config examples/edge.toml >run/says &
pids+=($!)
exec 4<run/says
rm run/says
while IFS= read -r line <&4; do
  if [ "$line" = ready ]; then
    cat examples/try.txt
    break
  fi
done

# Whichever ends first takes the other along; Ctrl-C ends both.
wait -n "${pids[@]}"
