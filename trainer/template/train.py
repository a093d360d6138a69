LEARNING_RATE = 0.1
STEPS = 50

x = 10.0
for _ in range(STEPS):
    x -= LEARNING_RATE * 2 * (x - 3.0)

print(f"loss: {(x - 3.0) ** 2:.6f}")
print(f"num_steps: {STEPS}")
