"""Runs pieces of Python in the project, each a JSON text on a line; answers each with a line: null, or what
went wrong; a first null says that it is ready."""

import json
import os
import sys
import traceback
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from accounts.models import BaseOrder, BaseUser, Receipt, Tag, Transaction
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from leagueOfLegends.models import LeagueOfLegendsDivisionOrder, LeagueOfLegendsPlacementOrder, LeagueOfLegendsRank

print("null", flush=True)
for line in sys.stdin:
    wrong = None
    try:
        exec(json.loads(line), globals())
    except Exception:
        wrong = traceback.format_exc()
    print(json.dumps(wrong), flush=True)
