// A chat server as one writes it in an hour, in Node: node server.mjs PROVIDER_PORT
// socket.io and openai with their defaults, one event a token. Nothing is stored.
import { createServer } from "node:http";
import OpenAI from "openai";
import { Server } from "socket.io";

const openai = new OpenAI({ baseURL: `http://127.0.0.1:${process.argv[2]}/v1`, apiKey: "none" });
const server = createServer();
const io = new Server(server, { cors: { origin: "*" } });

io.on("connection", (socket) => {
  socket.on("message", async (content) => {
    const stream = await openai.chat.completions.create({
      model: "benchmark",
      stream: true,
      messages: [{ role: "user", content }],
    });
    for await (const chunk of stream) {
      const token = chunk.choices[0]?.delta?.content;
      if (token) socket.emit("token", token);
    }
    socket.emit("end");
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
