// An OpenID provider that we did not write, with one client, its own pages for login and consent, and groups.
// node openid_provider.mjs MODULES CERTIFICATE KEY REDIRECT_URI SECRET: prints its port when it listens.
import fs from "node:fs";
import https from "node:https";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, certificate, key, redirect, secret] = process.argv.slice(2);
const found = createRequire(`${modules}/`).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(found));
const server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
server.listen(0, "127.0.0.1", () => {
  const provider = new Provider(`https://localhost:${server.address().port}`, {
    clients: [{ client_id: "console", client_secret: secret, redirect_uris: [redirect], response_types: ["code"], grant_types: ["authorization_code"] }],
    claims: { openid: ["sub"], email: ["email"], profile: ["groups"] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.org`, groups: id === "eve" ? [] : ["staff", `role-of-${id}`] }),
    }),
  });
  server.on("request", provider.callback());
  console.log(server.address().port);
});
