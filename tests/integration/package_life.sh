#!/bin/bash
# The life of the package on a machine of its own: this one with a layer on top, in a mount namespace (see test_package.py).
# Arguments: a directory, the package, a newer one, a free port.
set -euo pipefail
work=$1 first=$2 second=$3 port=$4
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
mount --bind /proc "$work/root/proc"
mount --bind /dev "$work/root/dev"
mkdir -p "$work/root/packages"
cp "$first" "$work/root/packages/first.deb"
cp "$second" "$work/root/packages/second.deb"

in_it() { chroot "$work/root" "$@"; }
as_sidecar() { exec chroot "$work/root" setpriv --reuid sidecar --regid sidecar --init-groups --no-new-privs "$@"; }
command_of() { sed -n 's/^ExecStart=//p' "$work/root/usr/lib/systemd/system/$1"; }
pids=()
trap '((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null || true; wait' EXIT

in_it dpkg -i /packages/first.deb
echo "installed $(in_it sidecar --version)"
for state in sidecar sidecar-devnet; do in_it install -d -o sidecar -g sidecar -m 750 "/var/lib/$state"; done
sed -i "s/^port = .*/port = $port/" "$work/root/etc/sidecar/sidecar.toml"

in_it sidecar token desk --file /etc/sidecar/tokens >/dev/null
(as_sidecar test -r /etc/sidecar/tokens) && echo "tokens are readable"
in_it systemctl --quiet enable sidecar.service sidecar.socket sidecar@tokyo.service sidecar@tokyo.socket sidecar-devnet.service

(as_sidecar $(command_of sidecar-devnet.service)) >"$work/devnet" 2>&1 & pids+=($!)
until grep -q 'height' "$work/devnet"; do sleep 0.1; done
(as_sidecar env STATE_DIRECTORY=/var/lib/sidecar SIDECAR_OPERATOR_PORT=0 $(command_of sidecar.service)) >"$work/serve" 2>&1 & pids+=($!)
for _ in {1..300}; do
    grep -q "serving ws://127.0.0.1:$port/ws" "$work/serve" && break
    kill -0 "${pids[1]}" || { cat "$work/serve"; exit 1; }
    sleep 0.1
done
in_it python3 -c "
import json, urllib.request
asked = urllib.request.urlopen('http://127.0.0.1:$port/info', b'{\"type\": \"serverInfo\"}', timeout=20)
print('serves height', json.load(asked)['height'] > 0)"
kill "${pids[@]}"
wait "${pids[@]}" || true
pids=()

in_it dpkg -i /packages/second.deb
echo "upgraded $(in_it dpkg-query -W -f '${Version}' sidecar)"
grep "^port" "$work/root/etc/sidecar/sidecar.toml"
in_it env SIDECAR_OPERATOR_PORT=0 sidecar serve --config /etc/sidecar/sidecar.toml --check


mv "$work/root/etc/sidecar/sidecar.toml" "$work/mine" # instances do without it
in_it dpkg -i /packages/first.deb
echo "back to $(in_it sidecar --version)"
[[ ! -e $work/root/etc/sidecar/sidecar.toml ]]
mv "$work/mine" "$work/root/etc/sidecar/sidecar.toml"
rm "$work/root/etc/sidecar/tokens"

in_it dpkg -r sidecar
echo "after removal: $(cd "$work/upper" && find . -name '*sidecar*' -path './etc/*' | sort | tr '\n' ' ')"
in_it dpkg -P sidecar
echo "left: $(cd "$work/upper" && find . \( -type f -o -type l \) \( -path '*sidecar*' -o -newer "$work/devnet" \) ! -path './var/lib/dpkg/*' ! -path './var/log/*' ! -path './packages/*' ! -path './etc/*shadow*' ! -path './etc/passwd*' ! -path './etc/group*' ! -path './root/*' ! -path './tmp/*' | sort | tr '\n' ' ')"
