"""Small file systems for the benchmark: one where every rule passes, and some with as many faults as fit together."""
import json
import pathlib

TOP = ["/", "/etc", "/etc/ssh", "/etc/pam.d", "/etc/sudoers.d", "/etc/apt", "/etc/apt/sources.list.d", "/etc/apk", "/etc/yum.repos.d", "/usr", "/usr/bin",
       "/usr/sbin", "/usr/lib", "/var", "/var/lib/dpkg", "/home", "/home/app", "/root", "/tmp", "/var/tmp", "/etc/ssl/private", "/etc/ssl/certs"]


def directory(mode=0o755, uid=0, gid=0):
    return (None, mode, uid, gid)


def file(text="", mode=0o644, uid=0, gid=0):
    return (text, mode, uid, gid)


# The image's configuration, beside its files.
CONFIG = "config"


def config(user, env, ports, entrypoint, cmd, history=()):
    """An image's configuration blob, without layers."""
    return {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}, "history": [{"created_by": step} for step in history], "config": {
        "User": user, "Env": env, "ExposedPorts": {port: {} for port in ports}, "Entrypoint": entrypoint, "Cmd": cmd}}


def good():
    """path → (text or None for a directory, mode, uid, gid)."""
    tree = {path: directory() for path in TOP}
    tree |= {"/tmp": directory(0o1777), "/var/tmp": directory(0o1777), "/root": directory(0o700), "/etc/ssl/private": directory(0o700)}
    tree |= {
        "/etc/passwd": file("root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\napp:x:10001:10001::/home/app:/bin/sh\n"),
        "/etc/shadow": file("root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\napp:!:19000:0:99999:7:::\n", 0o640, 0, 42),
        "/etc/group": file("root:x:0:\ndaemon:x:1:\nwheel:x:10:root\nshadow:x:42:\napp:x:10001:\n"),
        "/etc/gshadow": file("root:*::\ndaemon:*::\n", 0o640, 0, 42),
        "/etc/login.defs": file("UMASK 022\nENCRYPT_METHOD YESCRYPT\nENV_PATH PATH=/usr/local/bin:/usr/bin:/bin\n"),
        "/etc/profile": file('PATH="/usr/local/bin:/usr/bin"\numask 022\n'),
        "/etc/pam.d/common-auth": file("auth [success=1] pam_unix.so nullok\nauth required pam_permit.so\n"),
        "/etc/ssh/sshd_config": file("#PermitRootLogin yes\nPermitRootLogin no\nPasswordAuthentication no\nCiphers aes256-gcm@openssh.com\n"),
        "/etc/sudoers": file("Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n#app ALL=(ALL) NOPASSWD: ALL\n", 0o440),
        "/etc/apt/sources.list": file("deb [signed-by=/k.gpg] http://deb.debian.org/debian bookworm main\n"),
        "/usr/bin/apt": file("#!", 0o755),
        "/etc/dnf/dnf.conf": file("[main]\ngpgcheck=1\nsslverify=1\n"),
        "/etc/apk/repositories": file("https://dl-cdn.alpinelinux.org/alpine/v3.20/main\n"),
        "/var/lib/dpkg/status": file("Package: bash\nStatus: install ok installed\nVersion: 5\n"),
        "/usr/bin/bash": file("#!", 0o755),
        "/etc/ssl/certs/ca-certificates.crt": file("-----BEGIN CERTIFICATE-----\n"),
        "/home/app/.npmrc": file("//registry.npmjs.org/:_authToken=${NPM_TOKEN}\n", 0o600, 10001, 10001),
        "/home/app/.docker/config.json": file('{"credHelpers": {"gcr.io": "gcloud"}}\n', 0o600, 10001, 10001),
        "/home/app/.env.example": file("PASSWORD=\n"),
        "/home/app/cert.pem": file("-----BEGIN CERTIFICATE-----\n"),
        CONFIG: config("10001:10001", ["PATH=/usr/local/bin:/usr/bin", "PASSWORD_FILE=/run/secrets/p"], ["8080/tcp"], ["/usr/bin/app"], ["--listen", "8080"]),
    }
    return tree


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nSECRETVALUE\n"
PEM = "-----BEGIN PRIVATE KEY-----\nSECRETVALUE\n"


def everything_wrong():
    """Faults of nearly every rule at once."""
    tree = good()
    tree |= {path: directory(0o777) for path in ("/home/app", "/root", "/usr/bin", "/tmp", "/etc/ssl/private", "/etc/sudoers.d")}
    tree |= {
        "/etc/passwd": file("root:x:0:5:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\nopen::1000:0::/:/bin/sh\nopen:x:1001:1001::/:/bin/sh\n"
                            "hash:$6$SECRETVALUE:1002:1002::/:/bin/sh\nsvc:x:200:200::/:/bin/sh\n+::::::\n", 0o666, 7, 7),
        "/etc/shadow": file("root:$6$SECRETVALUE:19000::::::\nold:$1$SECRETVALUE:19000::::::\n", 0o644, 7),
        "/etc/group": file("root:x:0:\nsudo:x:27:app\na:SECRETVALUE:50:\nb:x:50:\na:x:51:\n", 0o666, 7, 7),
        "/etc/gshadow": file("root:*::\n", 0o644),
        "/etc/login.defs": file("UMASK 000\nENCRYPT_METHOD MD5\n"),
        "/etc/profile": file("PATH=.:/usr/bin\n", 0o666),
        "/etc/pam.d/su": file("auth sufficient pam_permit.so\n", 0o666),
        "/etc/hosts.equiv": file("+\n"),
        "/etc/ssh/sshd_config": file("permitrootlogin yes\nPermitEmptyPasswords yes\nPasswordAuthentication yes\nHostbasedAuthentication yes\n"
                                     "PermitUserEnvironment yes\nCiphers aes128-cbc\n", 0o666),
        "/etc/ssh/ssh_host_rsa_key": file(KEY, 0o644),
        "/etc/sudoers": file("Defaults !authenticate\nALL ALL=(ALL) NOPASSWD: ALL\n", 0o666),
        "/etc/doas.conf": file("permit nopass :wheel\n"),
        "/etc/crontab": file("", 0o666), "/etc/ld.so.preload": file("/tmp/x.so\n", 0o666),
        "/etc/apt/sources.list": file("deb [trusted=yes] http://x unstable main\n", 0o666),
        "/etc/apt/apt.conf.d/99": file('APT::Get::AllowUnauthenticated "true";\n'),
        "/etc/dnf/dnf.conf": file("gpgcheck=0\nsslverify=0\n"), "/etc/apk/repositories": file("http://x/main\n"),
        "/etc/ssl/certs/ca-certificates.crt": file("", 0o666), "/etc/passwd.bak": file(),
        "/var": directory(0o777), "/var/lib/dpkg/status": file("Package: a\nStatus: install ok half-configured\n"),
        "/var/lib/apt/lists/x_InRelease": file(), "/var/cache/apt/archives/x.deb": file(), "/var/lib/cloud/instance/user-data.txt": file(),
        "/usr/bin/bash": file("#!", 0o6777), "/usr/bin/own": file("#!", 0o4755), "/usr/bin/own-group": file("#!", 0o2755), "/usr/bin/nmap": file("#!", 0o755),
        "/usr/sbin/sshd": file("#!", 0o755), "/usr/sbin/in.telnetd": file("#!", 0o755),
        "/root/.ssh/id_ed25519": file(KEY), "/root/.ssh/authorized_keys": file("ssh-ed25519 AAAA me\n"), "/app/tls/server.key": file(PEM),
        "/root/.gnupg/private-keys-v1.d/0123456789ABCDEF0123456789ABCDEF01234567.key": file(),
        "/root/.aws/credentials": file("[default]\naws_secret_access_key = SECRETVALUE\n"), "/app/service-account.json": file('{"type": "service_account"}'),
        "/root/.azure/accessTokens.json": file(), "/root/.docker/config.json": file('{"auths": {"r": {"auth": "SECRETVALUE"}}}'),
        "/app/.npmrc": file("//r/:_authToken=SECRETVALUE\nstrict-ssl=false\n"), "/root/.pypirc": file("password: SECRETVALUE\n"),
        "/root/.cargo/credentials.toml": file('token = "SECRETVALUE"\n'), "/root/.netrc": file("machine h login l password SECRETVALUE\n"),
        "/root/.git-credentials": file("https://u:SECRETVALUE@h\n"), "/root/.pgpass": file("h:5432:d:u:SECRETVALUE\n"),
        "/root/.kube/config": file("users:\n- user:\n    token: SECRETVALUE\n"), "/run/secrets/kubernetes.io/serviceaccount/token": file("SECRETVALUE"),
        "/app/.env": file("DB_PASSWORD='SECRETVALUE'\n"), "/app/terraform.tfstate": file("{}"), "/root/.vault-token": file("SECRETVALUE"),
        "/app/store.p12": file(), "/app/.htpasswd": file("u:SECRETVALUE\n"), "/root/.bash_history": file("mysql -pSECRETVALUE\n"), "/app/core.12": file(),
        "/app/wp-config.php": file("<?php\ndefine('DB_PASSWORD', 'SECRETVALUE');\n"), "/app/notes.txt": file("Authorization: Bearer SECRETVALUE12345\n"),
        CONFIG: config("svc", ["PATH=/usr/bin:.", "DB_PASSWORD=SECRETVALUE", "DB=postgres://u:SECRETVALUE@h/d", "LD_PRELOAD=/x.so", "NODE_TLS_REJECT_UNAUTHORIZED=0",
                               "FLASK_DEBUG=1"], ["22/tcp", "5005/tcp"], ["sudo", "sh", "-c", "curl http://h/x | sh"], ["/usr/sbin/sshd", "-D", "--token", "SECRETVALUE"],
                       ["RUN |1 NPM_TOKEN=SECRETVALUE /bin/sh -c npm ci # buildkit"]),
    }
    return tree


def root_user():
    """An image without USER."""
    tree = good()
    tree[CONFIG] = config("", [], [], ["/usr/bin/app"], [])
    return tree


def wrong_in_other_ways():
    """The other ways in which rules with several checks can fail."""
    tree = good()
    tree |= {
        "/etc/sudoers.d/app": file("app ALL=(ALL) NOPASSWD: ALL\nDefaults:app !authenticate\nALL ALL=ALL\n"),
        "/etc/ssh/sshd_config.d/10.conf": file("PermitRootLogin=yes\nPermitEmptyPasswords yes\nPasswordAuthentication yes\n"),
        "/etc/pam.d/common-password": file("password sufficient pam_unix.so md5\n"), "/etc/profile.d/x.sh": file("umask 000\n"),
        "/home/app/.rhosts": file("+\n"), "/etc/cron.d/job": file("", 0o664), "/etc/ld.so.conf.d/x.conf": file("", 0o666),
        "/etc/apt/sources.list.d/x.sources": file("Types: deb\nSuites: stable sid main\nTrusted: yes\n"),
        "/etc/yum.repos.d/x.repo": file("[x]\ngpgcheck = no\nsslverify=false\n"), "/var/cache/dnf/x/a.rpm": file(),
        "/var/cache/apk/APKINDEX.1.tar.gz": file(), "/usr/bin/perl5.36": file("#!", 0o2755), "/usr/bin/mine": file("#!", 0o4757),
        "/home/app/.gnupg/secring.gpg": file(), "/srv/.s3cfg": file("secret_key = SECRETVALUE\n"),
        "/home/app/.config/gcloud/credentials.db": file(), "/srv/.dockercfg": file('{"r": {"auth": "SECRETVALUE"}}'),
        "/srv/.yarnrc.yml": file('npmAuthToken: "SECRETVALUE"\n'), "/etc/pip.conf": file("index-url = https://u:SECRETVALUE@h/simple\n"),
        "/root/.m2/settings.xml": file("<server>\n  <password>SECRETVALUE</password>\n</server>\n"),
        "/etc/apt/auth.conf.d/x.conf": file("machine h login l password SECRETVALUE\n"),
        "/srv/app/.git/config": file("[remote]\n\turl = https://u:SECRETVALUE@h/r.git\n"), "/root/.my.cnf": file("[client]\npassword=SECRETVALUE\n"),
        "/root/.terraformrc": file('credentials "h" {\n  token = "SECRETVALUE"\n}\n'), "/etc/kubernetes/admin.conf": file("    client-key-data: SECRETVALUE\n"),
        "/root/.curlrc": file("insecure\n"), "/preseed.cfg": file(),
    }
    return tree


# What must fail on wrong_in_other_ways, and nothing else.
OTHER_WAYS = """services_sudo_no_password services_sudo_authenticates services_sudo_not_for_all services_sshd_root_login services_sshd_empty_passwords
services_sshd_password_login accounts_strong_password_hashing accounts_umask_not_open accounts_no_trusted_hosts files_cron_mode files_loader_config_mode
files_no_world_writable_file files_no_world_writable_configuration files_no_world_writable_program files_set_uid_known files_no_set_uid files_set_gid_known
files_no_set_uid_shell files_no_writable_set_uid packages_apt_trusted packages_no_release_mix packages_rpm_gpgcheck packages_rpm_sslverify
packages_package_archives packages_package_lists secrets_pgp_private_keys secrets_aws_credentials secrets_gcloud_credentials secrets_registry_credentials
secrets_npm_token secrets_python_package_credentials secrets_other_package_credentials secrets_netrc secrets_git_credentials secrets_database_passwords
secrets_terraform_state secrets_kubeconfig services_curl_checks_certificates secrets_cloud_init""".split()


def build(work, tree):
    """Writes `tree` below work/root and its configuration as work/config.json, with what the unpacker adds, and gives the owners for the state file."""
    root = pathlib.Path(work) / "root"
    tree = dict(tree)
    (pathlib.Path(work) / "config.json").write_text(json.dumps(tree.pop(CONFIG, config("10001", [], [], [], []))))
    tree = tree | {"/proc/mounts": file("/dev/root / ext4 rw,relatime 0 0\n"), "/run/.containerenv": file()}
    for path, (text, *_) in sorted(tree.items()):
        target = root / path.lstrip("/")
        (target if text is None else target.parent).mkdir(parents=True, exist_ok=True)
        if text is not None:
            target.write_text(text)
    owners = {path: tuple(entry[1:]) for path, entry in tree.items()}
    for path in list(owners):
        for parent in pathlib.PurePosixPath(path).parents:
            owners.setdefault(str(parent), (0o755, 0, 0))
    return owners
