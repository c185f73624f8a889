"""A mail server with STARTTLS and logins (Debian: python3-aiosmtpd). Each message it takes becomes a JSON file, read by Python's own
email package. Arguments: folder, certificate, key, user, password. Prints its port, and that of its TLS twin."""
import asyncio, email, email.policy, json, os, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

folder, certificate, key, user, password = sys.argv[1:]


class Handler:
    count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if os.path.exists(os.path.join(folder, "busy")):
            os.remove(os.path.join(folder, "busy"))
            return "451 4.3.0 try again later"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "headers": {name: message.get_all(name) for name in message.keys()},
            "defects": [str(defect) for part in message.walk() for defect in part.defects],
            "subject": message["subject"],
            "body": message.get_content(),
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "user": getattr(session.auth_data, "login", b"").decode(),
        }
        Handler.count += 1
        path = os.path.join(folder, f"{Handler.count:03}")
        with open(path + ".part", "w") as file:
            json.dump(told, file)
        os.rename(path + ".part", path + ".json")
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    with open(os.path.join(folder, "logins"), "a") as file:
        file.write("x")
    fits = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == (user, password)
    return AuthResult(success=fits, handled=fits, auth_data=data)


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    usual = dict(authenticator=login, auth_required=True, hostname="mail.test")
    start = await loop.create_server(
        lambda: SMTP(Handler(), require_starttls=True, tls_context=context, **usual), "127.0.0.1", 0)
    whole = await loop.create_server(
        lambda: SMTP(Handler(), auth_require_tls=False, **usual), "127.0.0.1", 0, ssl=context)
    print(start.sockets[0].getsockname()[1], whole.sockets[0].getsockname()[1], flush=True)
    # Ends with whoever started it.
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
