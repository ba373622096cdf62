// A plain Node.js server, as most are written: no signal handling, default keep-alive.
import { createServer } from "node:http";

createServer((_request, response) => response.end("fine")).listen(Number(process.env.PORT), "127.0.0.1");
