// An OpenID provider that we did not write, with two clients, its own pages for login and consent, and groups.
// node openid_provider.mjs MODULES CERTIFICATE KEY REDIRECT_URI SECRET: prints its port when it listens.
// GET /control/replay: from now on it answers with the ID token of the last login; /control/rotate: it gets new keys;
// /control/: neither any more.
import crypto from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, certificate, key, redirect, secret] = process.argv.slice(2);
const found = createRequire(`${modules}/`).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(found));
const server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
let answer, replays = false, kept, made = 0;

function start() {
  const { privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = { ...privateKey.export({ format: "jwk" }), kid: `key ${made++}`, use: "sig", alg: "RS256" };
  const client = { client_secret: secret, redirect_uris: [redirect], response_types: ["code"], grant_types: ["authorization_code"] };
  const provider = new Provider(`https://localhost:${server.address().port}`, {
    clients: ["console", "other"].map((client_id) => ({ client_id, ...client })),
    jwks: { keys: [jwk] },
    claims: { openid: ["sub"], email: ["email"], profile: ["groups"] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.org`, groups: id === "eve" ? [] : ["staff", `role-of-${id}`] }),
    }),
  });
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path === "/jwks") ctx.body = { keys: [{ kty: "EC", crv: "of tomorrow", x: "AA", y: "AA" }, ...ctx.body.keys] };
    if (ctx.path === "/token" && ctx.body?.id_token) {
      if (replays) ctx.body = { ...ctx.body, id_token: kept };
      else kept = ctx.body.id_token;
    }
  });
  answer = provider.callback();
}

server.on("request", (request, response) => {
  const [, control] = /^\/control\/(.*)$/.exec(request.url) ?? [];
  if (control === undefined) return answer(request, response);
  replays = control === "replay";
  if (control === "rotate") start();
  response.end();
});
server.listen(0, "127.0.0.1", () => {
  start();
  console.log(server.address().port);
});
