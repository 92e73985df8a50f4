#!/bin/bash
# Walks the shop as README.md does, and ends with 0 if everything was as it says there.
#
#   walk.sh [ADDRESS]     of the edge; taken from the local cluster where it is not given
#
# KUBECTL    how kubectl is called (cargo xtask kubectl)
# ORLOP      how orlop is called (orlop)
# NAMESPACE  where the shop is (default)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
read -ra kubectl <<< "${KUBECTL:-cargo xtask kubectl} --namespace ${NAMESPACE:-default}"
read -ra orlop <<< "${ORLOP:-orlop}"
namespace=(--namespace "${NAMESPACE:-default}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

main() {
    local address product customer order
    address=${1:-$("${kubectl[@]}" get service shop-edge -o 'jsonpath={.spec.clusterIP}')}
    shop=http://$address

    step 'the page is there'
    within 60 page_answers

    step 'a product is created, and read: a miss, then a hit'
    # Each replica of an API that has just started does not trust the cache for a moment.
    within 30 misses_then_hits

    step 'a change is seen by the next read'
    change "products/$product" '{"price": "17.25"}'
    expect "$(get "products/$product")" '"price":"17.25"'

    step 'an order is stored with its items'
    customer=$(create customers "{\"name\": \"Ada\", \"email\": \"ada-$$-$RANDOM@shop.example\"}")
    order=$(create orders "{\"customer\": \"$customer\", \"items\": [
        {\"product\": \"$product\", \"quantity\": 2, \"unitPrice\": \"17.25\"}]}")
    expect "$(get "orders/$order?include=items.product")" '"name":"lantern"'

    step 'a worker comes for its receipt, and the mailer has it'
    within 60 has_mail "$order"

    step 'the workers go again when nothing is left to do'
    within 180 has_workers 0

    step 'something breaks: orlop says why, and the shop goes on'
    sed 's#fixture-mailer:1#fixture-mailer:none#' "$here/app.yaml" > "$scratch/broken.yaml"
    apply "$scratch/broken.yaml"
    within 60 says_why "$scratch/broken.yaml"
    page_answers
    apply "$here/app.yaml" --wait
    echo 'the walk is done'
}

step() {
    printf '\n== %s\n' "$1"
}

# Repeats a command every half second until it succeeds; at most so many seconds.
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= until)); then
            echo "not so in time: $*" >&2
            exit 1
        fi
        sleep 0.5
    done
}

# The text holds the piece.
expect() {
    if [[ $1 != *"$2"* ]]; then
        printf 'expected %s in: %s\n' "$2" "$1" >&2
        exit 1
    fi
    printf '%s\n' "$1"
}

# Takes over the fields that whoever applied the shop first has set.
apply() {
    "${orlop[@]}" apply "${namespace[@]}" --force-conflicts -f "$@"
}

# The JSON without spaces.
get() {
    curl -fsS --max-time 10 "$shop/api/$1" | tr -d ' \n'
}

lantern() {
    create products "{\"sku\": \"walk-$$-$RANDOM\", \"name\": \"lantern\", \"price\": \"19.50\"}"
}

# Prints the new thing's id.
create() {
    local location
    location=$(curl -fsS --max-time 10 -o /dev/null -w '%header{location}' \
        -H 'content-type: application/json' -d "$2" "$shop/api/$1")
    printf '%s' "${location##*/}"
}

# Changes what nobody else has changed since it was read: 412 otherwise.
change() {
    local tag
    tag=$(curl -fsS --max-time 10 -o /dev/null -w '%header{etag}' "$shop/api/$1")
    curl -fsS --max-time 10 -X PATCH -H 'content-type: application/merge-patch+json' \
        -H "if-match: $tag" -d "$2" "$shop/api/$1" > /dev/null
}

cache_status() {
    curl -fsS --max-time 10 -o /dev/null -w '%header{cache-status}' "$shop/api/$1"
}

# Creates a product and reads it twice.
misses_then_hits() {
    local first second
    product=$(lantern)
    first=$(cache_status "products/$product")
    second=$(cache_status "products/$product")
    printf '%s\n%s\n' "$first" "$second"
    [[ $first == *fwd=miss* && $second == *hit* ]]
}

page_answers() {
    curl -fsS --max-time 10 -o /dev/null "$shop/"
}

has_mail() {
    curl -fsS --max-time 10 "$shop/mails" | grep -q "$1"
}

has_workers() {
    local replicas
    replicas=$("${kubectl[@]}" get workerpool shop-receipts -o 'jsonpath={.status.replicas}')
    [ "${replicas:-0}" = "$1" ]
}

says_why() {
    local why
    # It ends with an error as long as the shop is not ready, which is what is asked about.
    why=$("${orlop[@]}" why shop "${namespace[@]}" -f "$1" 2>&1 || true)
    if [[ $why == *ImagePullFailed* && $why == *fixture-mailer:none* ]]; then
        printf '%s\n' "$why"
    else
        return 1
    fi
}

main "$@"
