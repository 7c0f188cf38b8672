"""An SMTP server (aiosmtpd) that keeps what it is given, one JSON file a mail.

Arguments: host, port (0 for a free one), directory, starttls or tls, certificate, key, user, password.
The port stands in the file "port" once it listens. A recipient whose name begins with "refused" is refused.
"""

import asyncio
import email
import email.policy
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

host, port, directory, security, certificate, key, user, password = sys.argv[1:]


def write(name, text):
    with open(os.path.join(directory, name + ".new"), "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(os.path.join(directory, name + ".new"), os.path.join(directory, name))


class Sink:
    mails = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 no such mailbox: " + address
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = lambda kind: mail.get_body((kind,)).get_content()
        self.mails += 1
        fields = {
            "tls": session.ssl is not None or security == "tls",
            "authenticated": session.authenticated is True,
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "headers": [[name, str(value)] for name, value in mail.items()],
            "defects": [str(defect) for defect in mail.defects],
            "text": part("plain"),
            "html": part("html"),
        }
        write("%06d.json" % self.mails, json.dumps(fields))
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (user.encode(), password.encode()))


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    implicit = security == "tls"
    sink = Sink()

    def protocol():
        return SMTP(
            sink,
            tls_context=None if implicit else context,
            require_starttls=not implicit,
            auth_required=True,
            auth_require_tls=not implicit,
            authenticator=authenticate,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, host, int(port), ssl=context if implicit else None)
    write("port", str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


asyncio.run(main())
