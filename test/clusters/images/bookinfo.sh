#!/bin/sh
# Stands in for every service of bookinfo: says who it is at /, at /cgi-bin/productpage what reviews and details say, and
# at /cgi-bin/caller whose certificate the Envoy in front of it has accepted.
set -eu
root=/tmp/www
mkdir -p "$root/cgi-bin"
echo "{\"service\": \"$SERVICE\", \"cluster\": \"${CLUSTER:-}\", \"pod\": \"$(hostname)\"}" >"$root/index.html"
for path in reviews ratings details health; do
  mkdir -p "$root/$path"
  cp "$root/index.html" "$root/$path/index.html"
done
cat >"$root/cgi-bin/productpage" <<'CGI'
#!/bin/sh
printf 'Content-Type: application/json\r\n\r\n'
echo "[$(wget -q -O - http://details:9080/), $(wget -q -O - http://reviews:9080/)]"
CGI
cat >"$root/cgi-bin/caller" <<'CGI'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "${HTTP_X_FORWARDED_CLIENT_CERT:-nobody}"
CGI
chmod 755 "$root"/cgi-bin/*
exec httpd -f -p 9080 -h "$root"
