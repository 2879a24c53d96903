// What was asked and answered on this page, and what is being said: each answer for itself, so that none takes another along.
import { useEffect, useRef, useState } from "preact/hooks";
import { hear, unsaid, type Answer, type Question } from "./ask";

export interface Exchange {
  id: number;
  question: Question;
  answers: readonly Answer[];
}

const MOST_KEPT = 20;

export const isOpen = (answer: Answer): boolean => answer.state === "waiting" || answer.state === "speaking";

/** Ask models, stop one answer or all that are being said, ask one again; the newest exchange is first. */
export function useTalk() {
  const [talk, setTalk] = useState<readonly Exchange[]>([]);
  const speaking = useRef(new Map<string, AbortController>());
  const last = useRef(0);
  useEffect(() => () => speaking.current.forEach((one) => one.abort()), []);

  const change = (id: number, place: number, by: Partial<Answer>): void => setTalk((all) => all.map((one) => one.id !== id ? one
    : { ...one, answers: one.answers.map((answer, index) => (index === place ? { ...answer, ...by } : answer)) }));

  const begin = async (id: number, place: number, model: string, question: Question): Promise<void> => {
    const key = `${id} ${place}`;
    const given = new AbortController();
    speaking.current.set(key, given);
    await hear(model, question, given.signal, (by) => change(id, place, by));
    speaking.current.delete(key);
  };

  const ask = (question: Question, models: readonly string[]): void => {
    const id = (last.current += 1);
    setTalk((all) => [{ id, question, answers: models.map(unsaid) }, ...all.slice(0, MOST_KEPT - 1)]);
    models.forEach((model, place) => void begin(id, place, model, question));
  };
  const again = ({ id, question, answers }: Exchange, place: number): void => {
    const model = answers[place]?.model ?? "";
    setTalk((all) => all.map((one) => one.id !== id ? one
      : { ...one, answers: one.answers.map((answer, index) => (index === place ? unsaid(model) : answer)) }));
    void begin(id, place, model, question);
  };
  const stop = (id?: number, place?: number): void => {
    for (const [key, one] of speaking.current) if (id === undefined || key === `${id} ${place}`) one.abort();
  };
  return { talk, ask, again, stop };
}
