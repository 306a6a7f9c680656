import assert from "node:assert/strict";
import { eventually } from "../harness/wait.ts";
import {
  type Call,
  CAPPED_LOGIN,
  DENIED,
  INVALID_TOKEN,
  ISTIOD,
  LOGIN,
  type Request,
  SIGN,
  SYSTEM_TTL_S,
  type VaultCases,
} from "./vault-subject.ts";

export const AUTH_CASES: VaultCases = {
  "a login answers with a token of the role's policies, its life capped with a warning": async (vault) => {
    const body = { role: "gen-int-ca-istio", jwt: await vault.reviewer.createToken(ISTIOD) };
    const {
      data,
      auth,
      warnings,
      errors: _,
      ...envelope
    } = (await vault.call("POST", LOGIN, { token: null, body })).body ?? assert.fail();
    assert.deepEqual([data, warnings], [null, [CAPPED_LOGIN]]);
    assert.deepEqual(Object.keys(envelope).sort(), [
      "lease_duration",
      "lease_id",
      "mount_type",
      "renewable",
      "request_id",
      "wrap_info",
    ]);
    const { client_token, accessor, entity_id, metadata, ...rest } = auth ?? {};
    assert.match(String(client_token), /^hvs\./);
    assert.ok(accessor && entity_id);
    const { service_account_uid: uid, ...account } = metadata as Record<string, string>;
    assert.match(uid ?? "", /^[0-9a-f-]{36}$/);
    assert.deepEqual(account, {
      role: "gen-int-ca-istio",
      service_account_name: "istiod-service-account",
      service_account_namespace: "istio-system",
      service_account_secret_name: "",
    });
    assert.deepEqual(rest, {
      policies: ["default", "gen-int-ca-istio"],
      token_policies: ["default", "gen-int-ca-istio"],
      lease_duration: SYSTEM_TTL_S,
      renewable: true,
      token_type: "service",
      orphan: true,
      mfa_requirement: null,
      num_uses: 0,
    });
  },

  "a login is refused for each wrong thing with its own words": async (vault) => {
    const good = await vault.reviewer.createToken(ISTIOD);
    const body = (jwt: string, role = "gen-int-ca-istio"): Call => ({ token: null, body: { role, jwt } });
    await vault.refused(400, ["missing jwt"], ["POST", LOGIN, { token: null, body: { role: "gen-int-ca-istio" } }]);
    await vault.refused(400, ["missing role"], ["POST", LOGIN, { token: null, body: { jwt: good } }]);
    await vault.refused(400, ['invalid role name "nobody"'], ["POST", LOGIN, body(good, "nobody")]);
    await vault.refused(403, ["permission denied"], ["POST", LOGIN, body("garbage")]);
    await vault.refused(403, ["permission denied"], ["POST", "auth/nope/login", body(good)]);
    await vault.refused(405, ["unsupported operation"], ["GET", LOGIN, { token: null }]);
    const refusals = [
      ["service account name not authorized", { serviceAccount: "other" }],
      ["namespace not authorized", { namespace: "other" }],
      ["invalid expiration time (exp) claim: token is expired", { expirationSeconds: -600 }],
      ["permission denied", { expirationSeconds: -20 }],
      ["permission denied", { forged: true }],
    ] as const;
    for (const [reason, wrong] of refusals) {
      await vault.refused(
        403,
        [reason],
        ["POST", LOGIN, body(await vault.reviewer.createToken({ ...ISTIOD, ...wrong }))],
      );
    }
  },

  "a role's audience is asked of the token": async (vault) => {
    const role = {
      bound_service_account_names: "istiod*",
      bound_service_account_namespaces: ["*"],
      token_ttl: 60,
      audience: "vault",
    };
    await vault.done(["POST", "auth/kubernetes/role/strict", { body: role }]);
    const { data } = await vault.done(["GET", "auth/kubernetes/role/strict"]);
    assert.deepEqual(
      [data["audience"], data["token_ttl"], data["bound_service_account_names"]],
      ["vault", 60, ["istiod*"]],
    );
    const fault = "invalid audience (aud) claim: audience claim does not match any expected audience";
    const attempt = (jwt: string): Request => ["POST", LOGIN, { token: null, body: { role: "strict", jwt } }];
    await vault.refused(403, [fault], attempt(await vault.reviewer.createToken(ISTIOD)));
    const { auth } = await vault.done(attempt(await vault.reviewer.createToken({ ...ISTIOD, audience: "vault" })));
    assert.deepEqual([auth["policies"], auth["lease_duration"]], [["default"], 60]);
  },

  "an auth method without configuration, reviewer or right to review refuses every login": async (vault) => {
    const role = { bound_service_account_names: "*", bound_service_account_namespaces: "*", policies: "default" };
    const body = { role: "any", jwt: await vault.reviewer.createToken(ISTIOD) };
    const attempt: Request = ["POST", "auth/other/login", { token: null, body }];
    await vault.done(["POST", "sys/auth/other", { body: { type: "kubernetes" } }]);
    await vault.refused(404, [], ["GET", "auth/other/config"]);
    await vault.refused(400, ["no host provided"], ["POST", "auth/other/config", { body: {} }]);
    await vault.refused(
      400,
      ['"bound_service_account_names" can not be empty'],
      ["POST", "auth/other/role/any", { body: {} }],
    );
    const { body: warned } = await vault.call("POST", "auth/other/role/any", { body: role });
    assert.match(
      warned?.warnings?.[0] ?? "",
      /^Role any does not have an audience configured\. .*claim verification\.$/,
    );
    await vault.refused(500, ["could not load backend configuration"], attempt);
    const configs = [
      {
        kubernetes_host: "https://127.0.0.1:1",
        kubernetes_ca_cert: vault.reviewer.caPem,
        token_reviewer_jwt: vault.reviewer.reviewerToken,
      },
      {
        kubernetes_host: vault.reviewer.url,
        kubernetes_ca_cert: vault.root.certificatePem,
        token_reviewer_jwt: vault.reviewer.reviewerToken,
      },
      { kubernetes_host: vault.reviewer.url, kubernetes_ca_cert: vault.reviewer.caPem, token_reviewer_jwt: "stale" },
      { kubernetes_host: vault.reviewer.url, kubernetes_ca_cert: vault.reviewer.caPem },
    ];
    for (const config of configs) {
      await vault.done(["POST", "auth/other/config", { body: config }]);
      await vault.refused(403, ["permission denied"], attempt);
    }
    const own = { role: "any", jwt: vault.reviewer.reviewerToken };
    await vault.done(["POST", "auth/other/login", { token: null, body: own }]);
    await vault.done(["DELETE", "sys/auth/other"]);
  },

  "a token looks itself up, renews itself, is revoked, and is unknown after that": async (vault) => {
    const own = await vault.login();
    const { data } = await vault.done(["GET", "auth/token/lookup-self", { token: own }]);
    assert.deepEqual(
      [data["id"], data["display_name"], data["path"], data["orphan"], data["renewable"], data["type"]],
      [own, "kubernetes-istio-system-istiod-service-account", "auth/kubernetes/login", true, true, "service"],
    );
    assert.ok(Number(data["ttl"]) > SYSTEM_TTL_S - 60 && Number(data["ttl"]) <= SYSTEM_TTL_S);
    const { auth } = await vault.done(["POST", "auth/token/renew-self", { token: own, body: { increment: "1h" } }]);
    assert.deepEqual([auth["client_token"], auth["lease_duration"]], [own, 3600]);
    await vault.done(["GET", "auth/token/lookup-self", { token: null, headers: { authorization: `Bearer ${own}` } }]);
    await vault.done(["POST", "auth/token/revoke-self", { token: own }]);
    await vault.refused(403, [INVALID_TOKEN], ["GET", "auth/token/lookup-self", { token: own }]);
    await vault.refused(403, [INVALID_TOKEN], ["POST", SIGN, { token: own, body: { csr: "x" } }]);
    await vault.refused(403, ["permission denied"], ["POST", SIGN, { token: null, body: { csr: "x" } }]);
    await vault.refused(400, ["lease is not renewable"], ["POST", "auth/token/renew-self"]);
  },

  "created tokens have the life and policies asked for, and end with it or with their parent": async (vault) => {
    const create = async (body: object, caller = vault.rootToken, warnings: readonly string[] = []) =>
      (await vault.done(["POST", "auth/token/create", { token: caller, body }], warnings)).auth;
    const made = await create({ policies: ["gen-int-ca-istio"], ttl: "1h" });
    assert.deepEqual(
      [made["policies"], made["lease_duration"], made["orphan"]],
      [["default", "gen-int-ca-istio"], 3600, false],
    );
    const asked = { policies: ["x"], no_default_policy: true, no_parent: true, ttl: "1h", period: "30m" };
    const periodic = await create(asked, vault.rootToken, ['Policy "x" does not exist']);
    assert.deepEqual([periodic["policies"], periodic["lease_duration"], periodic["orphan"]], [["x"], 1800, true]);
    await vault.refused(403, [DENIED], ["POST", "auth/token/create", { token: vault.token, body: {} }]);
    const parent = String((await create({ policies: ["root"] }))["client_token"]);
    const child = String((await create({ policies: ["default"] }, parent))["client_token"]);
    await vault.done(["POST", "auth/token/revoke-self", { token: parent }]);
    await vault.refused(403, [INVALID_TOKEN], ["GET", "auth/token/lookup-self", { token: child }]);
    const brief = String((await create({ policies: ["default"], ttl: "1s" }))["client_token"]);
    const expired = async () => (await vault.call("GET", "auth/token/lookup-self", { token: brief })).status === 403;
    await eventually("token expired", expired, { timeoutMs: 30_000 });
  },
};
