// Everything works without this; with it, progress moves by itself and cells are checked while they are typed.
"use strict";

const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

for (const place of document.querySelectorAll("[data-live]")) {
  const bar = place.querySelector("progress");
  const look = async () => {
    let pause = 2000;
    try {
      const answer = await fetch(place.dataset.live, { headers: { "x-by-itself": "1" }, redirect: "error" });
      // Nothing to see any more, or not for us.
      if (answer.status === 403 || answer.status === 404) return;
      if (!answer.ok) throw new Error(answer.status);
      const live = await answer.json();
      bar.max = Math.max(live.records, 1);
      bar.value = live.done;
      place.querySelector(".done").textContent = live.done;
      place.querySelector(".of").textContent = live.records;
      document.getElementById("state").textContent = live.words;
      if (live.rests) return location.reload();
    } catch {
      pause = 10000;
    }
    setTimeout(look, document.hidden ? 10000 : pause);
  };
  setTimeout(look, 1000);
}

// Cells are checked by the schema itself, at the server, a moment after the last key.
for (const form of document.querySelectorAll("form[data-check]")) {
  const waiting = new Map();
  const say = (row, said) => {
    const place = row.querySelector(".said");
    place.replaceChildren();
    const inputs = [...row.querySelectorAll("input, textarea")];
    for (const input of inputs) input.removeAttribute("aria-invalid");
    for (const problem of said.problems) {
      const line = document.createElement("div");
      const input = problem.column === null ? undefined : inputs[problem.column];
      if (input) input.setAttribute("aria-invalid", "true");
      line.textContent = (input ? input.getAttribute("aria-label").split(", line ")[0] + ": " : "") + problem.words;
      place.append(line);
    }
    show(said.card);
  };
  const show = (card) => {
    const place = form.querySelector(".card-place");
    place.replaceChildren();
    if (!card) return;
    const part = (tag, name, text) => {
      const element = document.createElement(tag);
      if (name) element.className = name;
      if (text !== undefined) element.textContent = text;
      return element;
    };
    const pass = part("div", "pass");
    pass.append(part("strong", "break", card.pass), part("span", "small quiet", card.does));
    for (const field of card.fields) {
      const line = part("div", "field");
      const value = part("div", "break");
      if (field.before !== undefined) value.append(part("del", "before", field.before), " → ");
      value.append(field.after === undefined ? part("em", "", "nothing") : part("span", "", field.after));
      if (field.same) value.append(" ", part("span", "small quiet", "as it is"));
      line.append(part("div", "name", field.field), value);
      pass.append(line);
    }
    place.append(pass);
  };
  const check = async (row) => {
    const cells = [...row.querySelectorAll("input, textarea")].map((input) => input.value);
    try {
      const answer = await fetch(form.dataset.check, {
        method: "POST",
        redirect: "error",
        headers: { "content-type": "application/json", "x-csrf": csrf },
        body: JSON.stringify({ number: Number(row.dataset.number), cells }),
      });
      if (answer.ok) say(row, await answer.json());
    } catch {
      // The check happens when the form is sent.
    }
  };
  form.addEventListener("input", (event) => {
    const row = event.target.closest("tr[data-number]");
    if (!row) return;
    clearTimeout(waiting.get(row));
    waiting.set(row, setTimeout(() => check(row), 300));
  });
}
