"""What is sent to each route of roles.txt."""

# Names in braces stand for what the test has made: for the organization, or for another one (`theirs`).
BODIES = {
    "POST /api/auth/sign-up": {"email": "{fresh}@example.com", "password": "correct horse"},
    "POST /api/auth/sign-in": {"email": "viewer@example.com", "password": "correct horse"},
    "POST /api/auth/password": {"old_password": "correct horse", "new_password": "another horse"},
    "POST /api/organizations": {"name": "Another"},
    "PATCH /api/organizations/{organization}": {"name": "Renamed"},
    "PATCH /api/members/{member}": {"role": "developer"},
    "POST /api/invitations": {"email": "{fresh}@example.com", "role": "viewer"},
    "POST /api/invitations/accept": {"token": "tsi_nobody"},
    "POST /api/keys": {"name": "k"},
    "PUT /api/credentials": {"providers": {"openai": {"apiKey": "sk-of-the-tests-0000"}}},
    "POST /api/credits/purchase": {"amount": 25},
    "POST /api/credits/redeem": {"code": "nothing"},
    "POST /api/credits/webhook": {},
    "POST /api/credits/deduct": {"user_id": "{organization}", "amount": 1},
    "POST /api/credits/deduct/batch": {"deductions": [{"user_id": "{organization}", "amount": 1}]},
    "POST /api/billing/checkout": {
        "priceId": "price_1",
        "successUrl": "https://pay.example.com/",
        "cancelUrl": "https://pay.example.com/",
    },
    "POST /api/billing/portal": {"returnUrl": "https://pay.example.com/"},
    "POST /api/orders": {"amount": 25, "reference": "transfer"},
    "PUT /api/top-up": {"threshold": 5, "amount": 20, "monthly_max": 100},
    "PUT /api/balance-alerts": {"thresholds": [5]},
    "POST /api/webhooks": {"url": "https://hooks.example.org/", "types": ["order.*"]},
    "PATCH /api/webhooks/{webhook}": {"enabled": False},
    "POST /api/webhooks/{webhook}/replay": {"since": "2026-01-01T00:00:00Z"},
    "POST /api/usage/events": {"events": [{"id": "1", "organization": "{organization}", "meter": "document_page"}]},
    "POST /api/usage/reserve": {"user_id": "{organization}", "meter": "document_page", "quantity": 1},
    "POST /api/usage/settle": {"user_id": "{organization}", "id": "nothing"},
    "POST /api/usage/release": {"user_id": "{organization}", "id": "nothing"},
    "POST /api/tier/use": {"user_id": "{organization}", "feature": "ad_generations"},
    "POST /api/tier/give-back": {"user_id": "{organization}", "id": "nothing"},
}
QUERIES = {"GET /api/tier/check": {"feature": "ad_generations"}}
