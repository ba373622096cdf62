// A plain Node.js server with its default keep-alive (5 s): `node server.js 8000`. It knows nothing of hitless.
"use strict";
const http = require("node:http");

const version = process.env.HITLESS_VERSION || "dev";
const port = Number(process.argv[2] || process.env.PORT || 8000);

function answer(response, status, body) {
  response.writeHead(status, { "content-type": "application/json", "x-version": version });
  response.end(JSON.stringify({ version, ...body }));
}

function placeOrder(request, response) {
  let text = "";
  request.on("data", (part) => (text += part));
  request.on("end", () => answer(response, 201, { id: JSON.parse(text).id }));
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://shop");
  const product = /^\/product\/(\d+)$/.exec(url.pathname);
  if (url.pathname === "/" || url.pathname === "/health") return answer(response, 200, {});
  if (product) return answer(response, 200, { id: Number(product[1]) });
  if (url.pathname === "/slow") {
    const seconds = Number(url.searchParams.get("seconds") || 3);
    return setTimeout(() => answer(response, 200, { id: url.searchParams.get("id") }), seconds * 1000);
  }
  if (url.pathname === "/orders" && request.method === "POST") return placeOrder(request, response);
  return answer(response, 404, {});
});

server.listen(port, "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
