// Server-sent events out of an answer's body. Knows the format and nothing of what is said.

export interface Message {
  event: string;
  data: string;
  id: string;
}

/** Give each message as it comes; ends when the body does. Comments only show that the line lives. */
export async function* messages(body: ReadableStream<Uint8Array>, alive: () => void = () => undefined): AsyncGenerator<Message> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      const blocks = (held + value).split("\n\n");
      held = blocks.pop() ?? "";
      for (const block of blocks) {
        const message = parsed(block);
        if (message) yield message;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

function parsed(block: string): Message | undefined {
  const message: Message = { event: "message", data: "", id: "" };
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at <= 0) continue;
    const value = line.slice(line[at + 1] === " " ? at + 2 : at + 1);
    const field = line.slice(0, at);
    if (field === "data") data.push(value);
    else if (field === "event") message.event = value;
    else if (field === "id") message.id = value;
  }
  message.data = data.join("\n");
  return data.length > 0 ? message : undefined;
}
