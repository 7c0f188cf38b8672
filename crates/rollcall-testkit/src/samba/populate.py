"""Fills a freshly provisioned domain, offline: python3 populate.py SMB_CONF BASE_DN < LOGIN_TAB_PASSWORD_LINES

Passwords come by standard input, so that no process list shows them.
"""

import sys

import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

# Lets pwdLastSet be written as it is (DSDB_CONTROL_PASSWORD_CHANGE_LAST_SET_OID).
KEEP_PASSWORD_TIME = ["local_oid:1.3.6.1.4.1.7165.4.3.12:0"]
# FILETIME of 2000-01-01.
LONG_AGO = "125911584000000000"
DAY = 86_400 * 10_000_000
BIG_GROUP_SIZE = 1_600

parm = LoadParm()
parm.load(sys.argv[1])
base = sys.argv[2]
people = f"OU=People,{base}"
passwords = dict(line.rstrip("\n").split("\t") for line in sys.stdin)
sam = SamDB(url=parm.private_path("sam.ldb"), session_info=system_session(), lp=parm)


def replace(dn, controls=None, **attributes):
    message = ldb.Message(ldb.Dn(sam, dn))
    for name, value in attributes.items():
        message[name] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, name)
    sam.modify(message, controls)


def group(name, members):
    dn = f"CN={name},OU=Groups,{base}"
    sam.add({"dn": dn, "objectClass": "group", "sAMAccountName": name, "member": members})
    return dn


sam.transaction_start()
replace(
    base,
    lockoutThreshold="5",
    lockoutDuration=str(-DAY // 48),
    lockOutObservationWindow=str(-DAY // 48),
    # As long as Samba allows: a template outlives a test run, its passwords must not age.
    maxPwdAge=str(-999 * DAY),
)
for unit in ("People", "Crowd", "Groups"):
    sam.add({"dn": f"OU={unit},{base}", "objectClass": "organizationalUnit"})

dns = {}
for login, password in passwords.items():
    if login == "Administrator":
        sam.setpassword(f"(sAMAccountName={login})", password)
        continue
    # The comma is there to be escaped.
    dns[login] = f"CN={login.capitalize()}\\, Sam,{people}"
    sam.add(
        {
            "dn": dns[login],
            "objectClass": "user",
            "sAMAccountName": login,
            "userPrincipalName": f"{login}@lab.test",
            "givenName": "Sam",
            "sn": login.capitalize(),
            "mail": f"{login}@lab.test",
            "unicodePwd": f'"{password}"'.encode("utf-16-le"),
            "userAccountControl": "512",
        }
    )

replace(dns["disabled"], userAccountControl="514")
replace(dns["expired"], accountExpires=LONG_AGO)
replace(dns["aged"], KEEP_PASSWORD_TIME, pwdLastSet=LONG_AGO)
replace(dns["mustchange"], pwdLastSet="0")
replace(dns["offhours"], logonHours=b"\0" * 21)
replace(dns["offsite"], userWorkstations="NOWHERE")

crowd = []
for number in range(BIG_GROUP_SIZE):
    crowd.append(f"CN=crowd{number:04},OU=Crowd,{base}")
    # 544: enabled, no password needed; these never log in, and hashing takes the most time.
    sam.add(
        {
            "dn": crowd[-1],
            "objectClass": "user",
            "sAMAccountName": f"crowd{number:04}",
            "mail": f"crowd{number:04}@lab.test",
            "userAccountControl": "544",
        }
    )
group("crowd", crowd)
inner = group("inner", [dns["normal"]])
middle = group("middle", [inner])
group("outer", [middle])
sam.modify_ldif(
    f"dn: CN=Domain Admins,CN=Users,{base}\nchangetype: modify\nadd: member\nmember: {dns['powerful']}\n"
)
sam.transaction_commit()
