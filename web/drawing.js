// What is shown of messages and of the list. Text only ever becomes text, whatever is in it.

const NOTES = {
  sending: "Sending …",
  queued: "Waits for the answer before it",
  stopped: "Stopped",
  interrupted: "Broken off",
  failed: "No answer",
};

// Make the children of `parent` those of `entries`, touching only what differs.
export function drawMessages(parent, entries) {
  const before = new Map([...parent.children].map((each) => [each.dataset.key, each]));
  let place = parent.firstElementChild;
  for (const entry of entries) {
    const element = before.get(entry.key) ?? bubble(entry);
    before.delete(entry.key);
    update(element, entry);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  before.forEach((element) => element.remove());
}

function bubble({ key, role }) {
  const element = document.createElement("article");
  element.className = role;
  element.dataset.key = key;
  element.ariaLabel = role === "user" ? "You" : "Assistant";
  element.append(document.createElement("p"), document.createElement("small"));
  element.firstChild.append("");
  return element;
}

function update(element, { content, status, attempt, error }) {
  const text = element.firstChild.firstChild;
  if (content.startsWith(text.data)) text.appendData(content.slice(text.length));
  else text.data = content;
  const again = attempt > 1 && !content ? "The server was restarted; answering again …" : "";
  element.lastChild.textContent = [NOTES[status] ?? again, error].filter(Boolean).join(": ");
  element.dataset.status = status;
}

export function listItem(conversation, current, rename, remove) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = `#${encodeURIComponent(conversation.id)}`;
  link.textContent = conversation.title || "New conversation";
  if (current) link.ariaCurrent = "page";
  const tool = (sign, name, act) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: sign, title: name });
    button.ariaLabel = `${name}: ${link.textContent}`;
    button.onclick = () => act(conversation);
    return button;
  };
  item.append(link, tool("✎", "Rename", rename), tool("×", "Delete", remove));
  return item;
}
