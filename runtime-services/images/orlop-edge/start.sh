#!/bin/sh
# Starts nginx with the pod's nameservers: nginx does not read /etc/resolv.conf itself.
#
# ORLOP_EDGE_CONFIG         nginx's configuration; it includes /tmp/resolver.conf
# ORLOP_EDGE_RESOLVE_EVERY  how long an address is believed, as nginx writes times
set -eu

servers=
while read -r keyword address _; do
    [ "$keyword" = nameserver ] || continue
    case $address in
        *:*) servers="$servers [$address]" ;;
        *) servers="$servers $address" ;;
    esac
done < /etc/resolv.conf

if [ -z "$servers" ]; then
    echo 'failed to find a nameserver in /etc/resolv.conf; give the pod a dnsPolicy that sets one' >&2
    exit 1
fi

printf 'resolver%s valid=%s;\nresolver_timeout 2s;\n' \
    "$servers" "${ORLOP_EDGE_RESOLVE_EVERY:-1s}" > /tmp/resolver.conf
exec /usr/sbin/nginx -e stderr -c "${ORLOP_EDGE_CONFIG:-/etc/orlop/edge/nginx.conf}"
