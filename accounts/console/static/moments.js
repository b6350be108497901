// Times as people read them, in this browser's zone.

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});

const TIME = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const showTime = (when) => TIME.format(new Date(when));
export const showMoment = (when) => MOMENT.format(new Date(when));
export const showClock = (when) => CLOCK.format(new Date(when));
