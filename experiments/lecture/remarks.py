"""What was noticed after the runs, by the number of a claim; no part of any verdict."""

REMARKS = {
    "1": (
        "Not for lack of budget: with ten epochs and with observations and rewards scaled, the same number of steps "
        "ends between 0.85 and 1.03 on all six tasks. With the defaults Pendulum, MountainCar and "
        "MountainCarContinuous are hardly learnt."
    ),
    "2c": "On MountainCar no run of the defaults ever reached the goal, so that all returns are the same -200.",
    "3b": (
        "At its own learning rate the objective without clip does not only learn more slowly: on CartPole it loses "
        "about a third of what it learnt, and on Pendulum it learns nothing."
    ),
    "7b": "Almost all of PPO's drop is on Pendulum; on the three other tasks neither loses anything to speak of.",
    "8": (
        "TRPO is as good on average and better on Pendulum, where its value network takes a larger step size than a "
        "shared one would bear. PPO with a penalty or an adaptive clip is not far, either."
    ),
    "12b": (
        "The one error hardly shows even in the update that has it: among a run's updates the largest divergence is "
        "2.4 with it and 2.3 without, on average. Adam's step has the same length whatever the gradient's. What ruins "
        "the policy without the clip is not a bad estimate but ten epochs in every update."
    ),
    "16a": "The band of 10 to 40 % is reached at learning rates of 3e-3 and more, ten times the lecture's.",
    "19a": "Acrobot decides this: 0.8 to 0.9 up to lambda 0.95, and below 0.6 above it. Elsewhere little changes from "
    "0.8 on.",
    "21": (
        "With rewards as they are, the value's gradient drowns the policy's in the shared layers (erratum 7); with "
        "rewards scaled, the shared network learns well (claim 23a)."
    ),
    "22c": (
        "Normalising is no remedy: with rewards a thousand times as large, normalised advantages learn even less. The "
        "value's gradient, which grows with the rewards, takes up the bound on the joint norm."
    ),
    "24d": (
        "1e-3 and 3e-3 learn faster with the lecture's 4 epochs; 3e-4 is good enough on Acrobot alone. "
        "Stable-Baselines3's PPO with the same settings, five seeds, agrees: on CartPole 0.93 with 3e-3 and 0.67 with "
        "3e-4, here 0.86 and 0.60; on Acrobot no difference."
    ),
    "25c": (
        "20 epochs are ahead of 10, and far ahead of 4, at the lecture's learning rate. Stable-Baselines3's PPO, five "
        "seeds, agrees on CartPole: 0.93 with 20 epochs and 0.67 with 4, here 0.87 and 0.60; on Acrobot one of its "
        "five runs with 20 epochs learns nothing."
    ),
    "16b": (
        "None of the 18 configurations clips 10 to 40 % on Pendulum, so that the mean over the three tasks, which the "
        "claim is about, does not exist. On CartPole and Acrobot the configurations in the band learn less than those "
        "outside: 0.25 against 0.43 and 0.23 against 0.48."
    ),
    "18a": (
        "When these numbers were first seen, one of the 20 Acrobot policies, which never reaches the goal, had a "
        "variance of almost zero, by which everything was divided, and 18a and 18b were inconclusive. The measurement "
        "has left such a policy out since; the claims are unchanged."
    ),
    "22a": "On CartPole raw advantages learn a little faster, which is the open part; on Acrobot normalising helps "
    "much.",
    "22b": (
        "On Pendulum, with its large rewards, the gradient is 90 times as long without normalisation; on "
        "MountainCarContinuous, with its small ones, it is shorter."
    ),
    "28d": (
        "On CartPole there is nothing to gain: both score 500 in all 20 runs. On Acrobot the most likely actions gain "
        "0.020 [0.004, 0.034]; Pendulum and MountainCarContinuous are open."
    ),
    "25g": "What an update gains on fresh rollouts still rises beyond ten epochs at this learning rate.",
}
