#!/usr/bin/env bash
# The main job on real input, with real processes on this machine:
#
#   Peers A and B start apart from each other. A imports one half of 36,273 films and B the other half, both import and update
#   the same restaurants, and each creates an index. They meet on their topic and converge: one view, one confirmed order.
#   A Python client asks both. B is killed in the middle of an import and started again: nothing acknowledged is missing.
#   A third peer joins with a ticket, gets everything, is admitted as a writer and writes.
#
# Usage: tests/main-job.sh          takes a minute or two
#   COMBDB=PATH   the program; left out, it is built (release)
#   FILMS=PATH    the films, movies.jsonl.gz; left out, ../shared/data/movies.jsonl.gz beside the project
#   KEEP=1        keep the peers' folders and logs
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
films=${FILMS:-$root/../shared/data/movies.jsonl.gz}
restaurants=$root/tests/data/restaurants.jsonl.gz
database=main-job
half=18136

work=$(mktemp -d)
declare -A pids=()
started=$SECONDS

say() { printf '\n[%3d s] %s\n' $((SECONDS - started)) "$*"; }

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    for log in "$work"/*/log; do printf -- '--- the end of %s\n' "$log" >&2; tail -n 40 "$log" >&2; done
    exit 1
}

clean_up() {
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
}
trap clean_up EXIT

# start PEER [OPTION...]: runs a peer and waits until it serves.
start() {
    local peer=$1; shift
    mkdir -p "$work/$peer"
    rm -f "$work/$peer/address"
    "$combdb" serve --data "$work/$peer/data" --listen 127.0.0.1:0 --address-file "$work/$peer/address" "$@" \
        >>"$work/$peer/log" 2>&1 &
    pids[$peer]=$!
    for _ in $(seq 600); do
        [ -s "$work/$peer/address" ] && return
        kill -0 "${pids[$peer]}" 2>/dev/null || fail "peer $peer does not start"
        sleep 0.1
    done
    fail "peer $peer does not serve"
}

# stop PEER: a clean stop, as by Ctrl-C.
stop() {
    kill -INT "${pids[$1]}"
    wait "${pids[$1]}" || fail "peer $1 did not stop cleanly"
    unset "pids[$1]"
}

# at PEER COMMAND...: a command of the program against that peer.
at() {
    local peer=$1; shift
    "$combdb" "$@" --server "$(cat "$work/$peer/address")" --db "$database"
}

count() { at "$1" find "$2" --count "${@:3}"; }

# expect WHAT GOT WANTED
expect() { [ "$2" = "$3" ] || fail "$1: $2 instead of $3"; echo "  $1: $2"; }

address_of() { at "$1" peers list | sed -n 's/^own address  //p' | head -n 1; }

key_of() { at "$1" status | sed -n 's/^writer  *\([0-9a-f]*\).*/\1/p' | head -n 1; }

# converge PEER...: waits until all hold the same entries in one confirmed order and one view. What the two indexers say of
# each other's last entries may stay in the tail: an idle database is silent.
converge() {
    local states
    for _ in $(seq 1200); do
        states=$(for peer in "$@"; do at "$peer" status --digest | grep -E '^(entries|view|order) ' | tr '\n' ' '; echo; done | sort -u)
        if [ "$(wc -l <<<"$states")" = 1 ] && grep -qE ', [0-2] in the tail' <<<"$states"; then
            echo "  $* agree: $(tr -s ' ' <<<"$states")"
            for peer in "$@"; do echo "  $peer: $(at "$peer" status | grep '^work')"; done
            return
        fi
        sleep 0.1
    done
    fail "$* do not converge: $states"
}

[ -r "$films" ] || fail "the films are not at $films: say where with FILMS="
if [ -z "${COMBDB:-}" ]; then
    cargo build --release -p db-server --manifest-path "$root/Cargo.toml"
    COMBDB=${CARGO_TARGET_DIR:-$root/target}/release/combdb
fi
combdb=$COMBDB
python=$(bash "$root/tests/python/setup.sh")

say "A and B start on one topic without knowing of each other"
start A --topic "$database"
start B --topic "$database"

say "apart, both import the same restaurants and update them, each imports one half of the films and creates an index"
at A import "$restaurants" --collection restaurants
at B import "$restaurants" --collection restaurants
at A import "$films" --collection films --stable-ids --max-lines "$half" &
import_a=$!
at B import "$films" --collection films --stable-ids --skip-lines "$half" &
import_b=$!
thai='{"type_of_food": "Thai"}'
at A update restaurants "$thai" '{"$inc": {"visits": 1}, "$set": {"seen_by_a": true}}' --many
at B update restaurants "$thai" '{"$inc": {"visits": 10}, "$set": {"seen_by_b": true}}' --many
at B update restaurants '{"rating": {"$gte": 5.5}}' '{"$push": {"badges": "top"}}' --many
wait $import_a || fail "the import at A"
wait $import_b || fail "the import at B"
at A indexes create films '{"year": 1, "title": 1}'
at B indexes create films '{"genres": 1, "year": -1}'
expect "films at A" "$(count A films)" "$half"
expect "films at B" "$(count B films)" $((36273 - half))

say "they meet on the topic, appoint each other to confirm, and converge"
at B peers add "$(address_of A)"
for _ in $(seq 600); do [ "$(count A films)" = 36273 ] && break; sleep 0.1; done
at A writers set-indexers "$(key_of A)" "$(key_of B)"
converge A B
thais=$(zcat "$restaurants" | grep -c '"type_of_food":"Thai"')
for peer in A B; do
    expect "films at $peer" "$(count $peer films)" 36273
    expect "restaurants at $peer" "$(count $peer restaurants)" 2548
    expect "restaurants at $peer that both visited, and both counted" \
        "$(count $peer restaurants '{"visits": 11, "seen_by_a": true, "seen_by_b": true}')" "$thais"
    expect "indexes at $peer" "$(at $peer indexes list films | grep -c -E 'year_1_title_1|genres_1_year_-1')" 2
done

say "a Python client asks both"
"$python" "$root/tests/python/check_films.py" "$database" "$(cat "$work/A/address")" "$(cat "$work/B/address")" ||
    fail "the answers to the Python client"

say "B is killed in the middle of an import and started again"
at B import "$films" --collection again --stable-ids --max-lines 12000 >"$work/import" 2>&1 &
import_b=$!
for _ in $(seq 600); do [ "$(count B again)" -ge 2000 ] && break; sleep 0.02; done
kill -KILL "${pids[B]}"
wait "${pids[B]}" 2>/dev/null || true
if wait $import_b; then fail "the import ended before the server was killed"; fi
acknowledged=$(sed -n 's/^acknowledged up to line \([0-9]*\);.*/\1/p' "$work/import")
[ "$acknowledged" -ge 1000 ] || fail "nothing was acknowledged before the kill: $(cat "$work/import")"
start B --peer "$(address_of A)"
[ "$(count B again)" -ge "$acknowledged" ] || fail "$(count B again) documents after the kill, $acknowledged were acknowledged"
echo "  acknowledged before the kill: $acknowledged, there after the restart: $(count B again)"
at B import "$films" --collection again --stable-ids --skip-duplicates --skip-lines "$acknowledged" \
    --max-lines $((12000 - acknowledged))
converge A B
expect "documents at A after the import went on" "$(count A again)" 12000

say "a third peer joins with a ticket, gets everything, is admitted as a writer and writes"
start C
at A ticket | at C join - --name "$database" >/dev/null
converge A B C
expect "films at C" "$(count C films)" 36273
at A writers add "$(key_of C)"
for _ in $(seq 100); do at C writers list | grep "$(key_of C)" | grep -q writer && break; sleep 0.1; done
at C insert guests '{"_id": "hello from C"}' >/dev/null
converge A B C
expect "C's document at B" "$(count B guests '{"_id": "hello from C"}')" 1
"$python" "$root/tests/python/check_films.py" "$database" "$(cat "$work/A/address")" "$(cat "$work/C/address")" ||
    fail "the answers of A and C"

for peer in A B C; do stop $peer; done
say "done: everything as it should be"
