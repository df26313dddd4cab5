"""The certificate authority of one foundation, and certificates that are right, wrong and foreign."""

import os
import ssl
import subprocess
import threading

KINDS = ("good", "wrong-host", "foreign", "expired")
# A real authority has RSA; to make such keys costs more than the rest of a small foundation.
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


class Authority:
    """`ca.pem` for clients; `context(kind)` for servers. Unusual certificates are made when first asked for."""

    def __init__(self, directory, known=False):
        """`known`: the directory holds ca.pem and ca.key already."""
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.lock = threading.Lock()
        self.contexts = {}
        if not known:
            self._authority("ca", "Lifeboat test foundation")
        self.ca_file = f"{directory}/ca.pem"
        self.context("good")

    def ca_text(self):
        with open(self.ca_file) as file:
            return file.read()

    def context(self, kind="good"):
        if kind not in KINDS:
            raise ValueError(f"certificate is one of {', '.join(KINDS)}")
        with self.lock:
            if kind not in self.contexts:
                self.contexts[kind] = self._context(kind)
            return self.contexts[kind]

    def _context(self, kind):
        issuer = "ca"
        if kind == "foreign":
            issuer = "foreign-ca"
            self._authority(issuer, "Somebody else")
        names = "DNS:elsewhere.example" if kind == "wrong-host" else "DNS:localhost,IP:127.0.0.1"
        self._certificate(kind, issuer, names, expired=kind == "expired")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(f"{self.directory}/{kind}.pem", f"{self.directory}/{kind}.key")
        return context

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def _authority(self, name, subject):
        self._openssl("req", "-x509", *KEY, "-nodes", "-keyout", f"{name}.key", "-out",
                      f"{name}.pem", "-days", "30", "-subj", f"/CN={subject}", "-addext",
                      "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _certificate(self, name, issuer, names, expired):
        with open(f"{self.directory}/{name}.ext", "w") as file:
            file.write(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        self._openssl("req", "-new", *KEY, "-nodes", "-keyout", f"{name}.key", "-out",
                      f"{name}.csr", "-subj", "/CN=director")
        if expired:  # x509 takes no past dates, ca does
            with open(f"{self.directory}/expired.conf", "w") as file:
                file.write("[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=.\ndatabase=index.txt\nserial=serial.txt\n"
                           "default_md=sha256\npolicy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n")
            open(f"{self.directory}/index.txt", "w").close()
            self._openssl("ca", "-batch", "-config", "expired.conf", "-in", f"{name}.csr", "-out", f"{name}.pem",
                          "-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.key", "-extfile", f"{name}.ext",
                          "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-notext")
        else:
            self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key",
                          "-CAcreateserial", "-out", f"{name}.pem", "-days", "30", "-sha256", "-extfile",
                          f"{name}.ext")
