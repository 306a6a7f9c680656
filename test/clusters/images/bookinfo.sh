#!/bin/sh
# Stands in for every service of bookinfo: says who it is at /, and at /productpage what reviews and details say.
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
chmod 755 "$root/cgi-bin/productpage"
exec httpd -f -p 9080 -h "$root"
