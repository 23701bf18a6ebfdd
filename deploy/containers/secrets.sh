#!/bin/sh
# Makes the passwords, the certificate and the API token that compose.yaml reads, in a new folder.
set -eu
folder=${1:?usage: secrets.sh FOLDER}
umask 077
mkdir "$folder" "$folder/tls"
secret() { openssl rand -hex 24; }

routes=$(secret)
{
  echo "IRONCLAW_ROUTE_PASSWORD=$routes"
  for n in 1 2 3; do echo "IRONCLAW_ROUTE_$n=nats-route://routes:$routes@nats-$n:6222"; done
  echo "IRONCLAW_TLS_CERT=/tls/cert.pem"
  echo "IRONCLAW_TLS_KEY=/tls/key.pem"
  echo "IRONCLAW_TLS_CA=/tls/cert.pem"
} >"$folder/nats.env"
for user in sys admin control worker ingest viewer; do
  password=$(secret)
  name=$(echo "$user" | tr a-z A-Z)
  echo "IRONCLAW_${name}_PASSWORD=$password" >>"$folder/nats.env"
  printf 'NATS_USER=%s\nNATS_PASSWORD=%s\nNATS_INBOX_PREFIX=_INBOX_%s\n' \
    "$user" "$password" "$user" >"$folder/$user.env"
done

echo "MILESTONE_SIGNING_SECRET=$(secret)" >"$folder/signing.env"

openssl req -x509 -nodes -newkey rsa:2048 -days 825 -subj /CN=ironclaw-nats \
  -addext subjectAltName=DNS:nats-1,DNS:nats-2,DNS:nats-3 \
  -keyout "$folder/tls/key.pem" -out "$folder/tls/cert.pem" 2>/dev/null

token=$(secret)
echo "$token" >"$folder/token"
hash=$(printf %s "$token" | openssl dgst -sha256 -r | cut -d' ' -f1)
echo "compose:admin:$hash" >"$folder/tokens"
# Read by other users inside the containers; the folder around them is ours alone.
chmod 755 "$folder/tls"
chmod 644 "$folder/tls/key.pem" "$folder/tls/cert.pem" "$folder/tokens"
