# Tidewaiter's two images. With a network:
#   docker build --target server -t tidewaiter .
#   docker build --target inspector -t tidewaiter/inspector .
# `inspector-base` is the inspector without its program: scripts/inspector-image builds it once and then only adds the program.
ARG BASE=debian:trixie-slim
ARG RUST=rust:1.95-trixie
ARG NODE=node:22-trixie-slim

# The guides of the SCAP Security Guide, operating systems only. The packages unpack to 1.6 GB, of which the streams, packed, are 25 MB.
FROM ${BASE} AS guides
ARG STREAMS="debian* ubuntu* al2023 alinux* almalinux* anolis* centos* cs* fedora kylinserver* ol* openeuler* opensuse rhel* rhcos* rhv* sle* slmicro*"
RUN apt-get update \
 && apt-get install -y --no-install-recommends bzip2 \
 && mkdir -m 777 /guides && cd /guides \
 && apt-get download ssg-debian ssg-debderived ssg-nondebian \
 && for package in *.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x --wildcards './usr/share/xml/scap/ssg/content/*-ds.xml'; done \
 && mkdir /ssg \
 && for stream in $STREAMS; do mv usr/share/xml/scap/ssg/content/ssg-$stream-ds.xml /ssg/ 2>/dev/null || true; done \
 && ls /ssg/*.xml | xargs -P 2 -n 1 bzip2 -9 \
 && rm -rf /guides

# OpenSCAP 1.4 reads Debian packages by itself (1.3 asks libapt, which runs programs of the scanned image). rpm-common has the files that its
# probe of RPM packages needs; without %_dbpath rpm would run the image's shell. fakechroot wants binutils for a part of it that is not used here.
FROM ${BASE} AS inspector-base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates openscap-scanner fakeroot fakechroot rpm-common \
 && dpkg --purge --force-depends binutils binutils-x86-64-linux-gnu binutils-aarch64-linux-gnu libbinutils libgprofng0 libctf0 libctf-nobfd0 libsframe1 binutils-common \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/zoneinfo \
 && mkdir -p /etc/tidewaiter/rpmhome /work \
 && printf '%%_dbpath /var/lib/rpm\n' > /etc/tidewaiter/rpmhome/.rpmmacros \
 && echo 'inspector:x:12345:' >> /etc/group \
 && echo 'inspector:x:12345:12345:Tidewaiter inspector:/work:/usr/sbin/nologin' >> /etc/passwd \
 && chown 12345:12345 /work
COPY --from=guides /ssg /usr/share/tidewaiter/ssg
USER 12345:12345
WORKDIR /work
EXPOSE 8765
ENTRYPOINT ["/usr/local/bin/tidewaiter-inspector"]

FROM ${RUST} AS build
WORKDIR /source
COPY . .
RUN SQLX_OFFLINE=true cargo build --release --locked --package server --package inspector

FROM ${NODE} AS assets
WORKDIR /source
COPY package.json package-lock.json ./
COPY scripts/web-assets scripts/
COPY static static
COPY templates templates
RUN npm ci --no-audit --no-fund --omit=dev && scripts/web-assets

FROM inspector-base AS inspector
COPY --from=build /source/target/release/tidewaiter-inspector /usr/local/bin/

# The inspector with a program that was built outside: --build-arg BINARY=path within the build context.
FROM inspector-base AS inspector-prebuilt
ARG BINARY=target/release/tidewaiter-inspector
COPY ${BINARY} /usr/local/bin/tidewaiter-inspector

FROM ${BASE} AS server
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=build /source/target/release/tidewaiter /usr/local/bin/
COPY --from=assets /source/static /usr/share/tidewaiter/static
COPY config /usr/share/tidewaiter/config
WORKDIR /usr/share/tidewaiter
# It refuses to start until it is told how passwords are kept off the network: by TLS files, a proxy, or TIDEWAITER__SERVER__INSECURE_HTTP=true (docs/TLS.md).
ENV TIDEWAITER__SERVER__LISTEN=0.0.0.0:3000 TIDEWAITER_VAR=/var/lib/tidewaiter
RUN mkdir /var/lib/tidewaiter && chown 12345:12345 /var/lib/tidewaiter
USER 12345:12345
VOLUME /var/lib/tidewaiter
EXPOSE 3000
ENTRYPOINT ["/usr/local/bin/tidewaiter"]
CMD ["serve"]
