#!/usr/bin/env bash
# Makes the certificates that the tests of this crate use, valid for a hundred years. NAME.pem holds the certificate, NAME.key its key.
set -euo pipefail
cd "$(dirname "$0")"
names='subjectAltName=DNS:localhost,IP:127.0.0.1'

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
# own NAME SUBJECT [EXTENSION…]: signed with its own key
own() {
  local name=$1 subject=$2; shift 2
  [ -e "$name.key" ] || key "$name"
  openssl req -x509 -new -key "$name.key" -subj "$subject" -days 36500 -out "$name.pem" -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n') "${@/#/-addext=}"
}
# by AUTHORITY NAME SUBJECT EXTENSIONS [OPTION…]: signed by an authority; without extensions it is of version 1
by() {
  local authority=$1 name=$2 subject=$3 extensions=$4; shift 4
  [ -e "$name.key" ] || key "$name"
  local with=(); [ -z "$extensions" ] || { printf '%b\n' "$extensions" > extensions.tmp; with=(-extfile extensions.tmp); }
  openssl req -new -key "$name.key" -subj "$subject" | openssl x509 -req -CA "$authority.pem" -CAkey "$authority.key" -set_serial "0x$(openssl rand -hex 8)" \
    -days 36500 -out "$name.pem" "${with[@]}" "$@" 2>/dev/null
}

rm -f ./*.pem ./*.key
trap 'rm -f extensions.tmp' EXIT
own ca /CN=authority basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign
own impostor /CN=authority basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign
by ca leaf /CN=leaf "$names\nextendedKeyUsage=serverAuth"
by ca ca-leaf /CN=ca-leaf "$names\nbasicConstraints=critical,CA:TRUE"
by impostor forged /CN=forged "$names\nbasicConstraints=critical,CA:TRUE"
by leaf signed-by-leaf /CN=signed-by-leaf "$names\nbasicConstraints=critical,CA:TRUE"
by ca middle /CN=middle "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign"
by middle below-middle /CN=below-middle "$names\nbasicConstraints=critical,CA:TRUE"
by middle second-middle /CN=second-middle "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign"
by second-middle too-deep /CN=too-deep "$names\nbasicConstraints=critical,CA:TRUE"
by ca limited /CN=limited "basicConstraints=critical,CA:TRUE\nnameConstraints=critical,permitted;DNS:example.org"
by limited below-limited /CN=below-limited "$names\nbasicConstraints=critical,CA:TRUE"
by ca not-a-signer /CN=not-a-signer "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature"
by not-a-signer below-not-a-signer /CN=below-not-a-signer "$names\nbasicConstraints=critical,CA:TRUE"
by ca cn-only /CN=localhost "basicConstraints=CA:FALSE"
by ca version1 /CN=localhost ""
by ca unknown-critical /CN=unknown-critical "$names\nbasicConstraints=CA:TRUE\n1.2.3.4=critical,ASN1:NULL"
own own-ca /CN=own-ca basicConstraints=critical,CA:TRUE "$names"
own own-leaf /CN=own-leaf "$names"
own for-clients /CN=for-clients basicConstraints=critical,CA:TRUE "$names" extendedKeyUsage=clientAuth
key version1-ca
openssl req -new -key version1-ca.key -subj /CN=version1-ca | openssl x509 -req -signkey version1-ca.key -days 36500 -out version1-ca.pem 2>/dev/null
by version1-ca below-version1 /CN=below-version1 "$names"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out sha1.key
openssl req -x509 -new -sha1 -key sha1.key -subj /CN=sha1 -days 36500 -addext "$names" -addext basicConstraints=critical,CA:TRUE -out sha1.pem
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out sha1-leaf.key
by sha1 sha1-leaf /CN=sha1-leaf "$names" -sha1
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out short.key
openssl req -x509 -new -key short.key -subj /CN=short -days 36500 -addext "$names" -out short.pem
openssl ec -in leaf.key -aes256 -passout pass:secret -out encrypted.key 2>/dev/null
{ echo 'Bag Attributes: friendlyName'; cat version1.pem; } > version1-with-text.pem
openssl ec -in version1.key -out version1-sec1.key 2>/dev/null
